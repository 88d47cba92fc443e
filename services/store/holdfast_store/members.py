"""Who is connected to this store process, and who is given which task.

Pure bookkeeping on the event loop: no I/O, no rules. A task goes to the member that its target
names, else to the one that ran it last (its cache is warm), else to the least loaded.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count
from random import choice
from secrets import token_hex
from typing import Final, Protocol, runtime_checkable

from holdfast.core.ids import HTTP_GROUP, Address, flaw_of_text, parse_address
from holdfast.core.membership import DeliveryMode, Member, TaskOffer, TaskPush
from holdfast.core.records import Promise, Task
from holdfast_store.asides import Asides
from holdfast_store.backlog import Backlog, Looks, Seen

WARM_TASKS_MAX = 65_536
"""Tasks whose last member is remembered; an older one is merely given to somebody else."""

CREDITS_MAX = 1_000_000
GROUPS_MAX = 64
FUNCTIONS_MAX = 10_000


class BadMember(Exception):
    """A process introduced itself in a way that cannot be accepted; `code` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


_SEATS: Final = count()
"""Tells seats of one millisecond apart, in their order."""


def _age(at_ms: int) -> str:
    return f"{at_ms:012x}"


def is_unborn(seat: str, *, now_ms: int) -> bool:
    """Whether no store can have made a seat yet: the clock was set back since it was made."""
    return seat >= _age(now_ms + 1)


class Inbox(Protocol):
    """Where a member receives. Called on the event loop; must not block or raise."""

    def push_task(self, push: TaskPush) -> None:
        """Take a task acquired for the member."""

    def push_offer(self, offer: TaskOffer) -> None:
        """Take note of a task that the member may acquire."""

    def push_settled(self, promise: Promise) -> None:
        """Take a settled promise that the member waits for."""

    def replaced(self) -> None:
        """Another stream with the same pid took over: end this one."""


@runtime_checkable
class Relay(Protocol):
    """The inbox of a member of the group of HTTP addresses, which sends on what it receives."""

    def push_unblock(self, address: str, promise: Promise) -> None:
        """Take a settled promise that somebody waits for at an address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStatus:
    """A connected process, for operators."""

    pid: str
    groups: tuple[str, ...]
    credits: int
    held: int
    connected_at_ms: int


class Seat:
    """One member's place: its credits and where it receives."""

    __slots__ = (
        *("admitted", "connected_at_ms", "credits", "draining", "held", "id", "inbox", "member"),
        "works",
    )

    def __init__(self, member: Member, inbox: Inbox, *, connected_at_ms: int) -> None:
        # In the order of age, on all stores of a database, as they answer by one clock.
        self.id = f"{_age(connected_at_ms)}-{next(_SEATS):08x}-{token_hex(4)}"
        self.member = member
        self.inbox = inbox
        self.credits = member.credits
        # Whoever comes back with its hands full has no credits, and works all the same.
        self.works = member.credits > 0 or bool(member.held)
        self.held = 0
        self.draining = False
        # What a returning process no longer holds is given back by pid. A task that it were given
        # before that is done would look like one of those, and would be taken from it at once.
        self.admitted = member.held is None
        self.connected_at_ms = connected_at_ms

    @property
    def name(self) -> str:
        """The last part of the member's addresses."""
        return self.member.name or self.member.pid

    @property
    def is_offered(self) -> bool:
        """Whether the member acquires for itself. Its credits say nothing of its load."""
        return self.member.delivery_mode is DeliveryMode.OFFERED

    @property
    def relay(self) -> Relay | None:
        """Where to send what is for HTTP addresses, if the member sends such on."""
        if HTTP_GROUP in self.member.groups and isinstance(self.inbox, Relay):
            return self.inbox
        return None

    @property
    def takes_tasks(self) -> bool:
        """Whether tasks may be given to the member now, if it has credits."""
        return self.admitted and not self.draining

    def may_have(self, id_: str) -> bool:
        """Whether the member may be sent what is about this id."""
        return id_.startswith(self.member.prefix)

    def knows(self, func: str | None) -> bool:
        """Whether the member runs the function that a promise names (§13)."""
        functions = self.member.functions
        if functions is None or func is None or func in functions:
            return True
        return func.partition("@")[0] in functions


class NotPlaced(Enum):
    """Why a task was given to nobody."""

    NO_CREDIT = auto()
    """A fitting member is connected but has no room: the next credit may take the task."""
    NO_MEMBER = auto()
    """No fitting member is connected: only a new member may take the task."""


class Members:
    """The members of every group, and what their groups wait for.

    Invariant: a seat is listed under its pid and under each of its groups, or nowhere; groups
    without a seat are not remembered, since anybody may name one in a target.
    """

    def __init__(self) -> None:
        self._by_pid: dict[str, Seat] = {}
        self._by_group: dict[str, dict[str, Seat]] = {}
        self._backlog = Backlog()
        self.asides = Asides()
        self._last_pid: OrderedDict[str, str] = OrderedDict()
        self._avoided: OrderedDict[str, str] = OrderedDict()
        self.has_neighbors = False
        """Whether another store may have members too: whom an address names may sit there."""

    # Joining and leaving

    def join(self, member: Member, inbox: Inbox, *, now_ms: int) -> Seat:
        """Seat a member; one with the same pid is told that it was replaced."""
        check_member(member)
        before = self._by_pid.get(member.pid)
        if before is not None:
            if not before.member.prefix.startswith(member.prefix):
                # Whoever may not touch what a process works on must not send it away either.
                message = "hello.pid is the pid of a member that may have other ids than this one"
                raise BadMember("pid_taken", message)
            # The same start of a process may have another token by now; only it knows its instance.
            if before.member.owner != member.owner and before.member.instance != member.instance:
                message = "hello.pid is the pid of a member whose token is of another subject"
                raise BadMember("pid_taken", message)
            self.leave(before)
            before.inbox.replaced()
        seat = Seat(member, inbox, connected_at_ms=now_ms)
        self._by_pid[member.pid] = seat
        for group in member.groups:
            self._by_group.setdefault(group, {})[member.pid] = seat
        self._offer_room(seat)
        return seat

    def admit(self, seat: Seat) -> None:
        """Let a member have tasks: what its process no longer holds has been given back."""
        if seat.admitted:
            return  # it has had its room offered when it joined
        seat.admitted = True
        if self._by_pid.get(seat.member.pid) is seat:
            self._offer_room(seat)

    def _offer_room(self, seat: Seat) -> None:
        """Have everything looked at that may wait for a member like this one."""
        if seat.takes_tasks:
            for group in seat.member.groups:
                self._backlog.room_came(group, seat.credits)
                if seat.works and not seat.credits:
                    # What waits for it was queued by whoever knows nothing of it any more.
                    self._backlog.starve(group)

    def leave(self, seat: Seat) -> bool:
        """Unseat a member; answer whether it was still seated."""
        if self._by_pid.get(seat.member.pid) is not seat:
            return False
        del self._by_pid[seat.member.pid]
        for group in seat.member.groups:
            seats = self._by_group.get(group, {})
            seats.pop(seat.member.pid, None)
            if not seats:
                self._by_group.pop(group, None)
                self._backlog.forget(group)
        return True

    def is_seated(self, pid: str, instance: str) -> bool:
        """Whether this start of a process is connected now."""
        seat = self._by_pid.get(pid)
        return seat is not None and seat.member.instance == instance

    def give_back(self, seat: Seat, credits: int) -> None:
        """Return credits: those of tasks given here, or of tasks given before the member came back.

        A member that reconnects says how much room it has then; what it still runs comes on top
        when it ends, although this seat never gave it.
        """
        returned = max(0, credits)
        seat.held = max(0, seat.held - returned)
        seat.credits = min(seat.credits + returned, CREDITS_MAX)
        if returned and not seat.works:  # tasks that its hello did not name kept it busy
            seat.works = True
            self._offer_room(seat)
        for group in seat.member.groups:
            self._backlog.credits_returned(group, returned)

    # Placing tasks

    def place(self, task: Task, promise: Promise) -> Seat | NotPlaced:
        """Choose a member for a task and take one of its credits."""
        address = task.address
        func = promise.func
        fitting = [
            s
            for s in self._candidates(address)
            if s.works and s.knows(func) and s.may_have(task.id)
        ]
        free = [s for s in fitting if s.credits > 0 and s.takes_tasks]
        if not free:
            return self._not_placed(address.group, any_fitting=bool(fitting))
        avoided = self._avoided.pop(task.id, None)
        if avoided is not None:
            free = [s for s in free if s.member.pid != avoided] or free
        seat = _preferred(free, address.pid, self._last_pid.get(task.id)) or _drawn(free)
        seat.credits -= 1
        seat.held += 1
        _remember(self._last_pid, task.id, seat.member.pid)
        return seat

    def unplace(self, seat: Seat) -> None:
        """Undo `place` for a transaction that did not commit."""
        self.give_back(seat, 1)

    def _candidates(self, address: Address) -> Iterable[Seat]:
        seats = self._by_group.get(address.group, {})
        if not address.unicast:
            return seats.values()
        return [s for s in seats.values() if s.name == address.pid]

    def _not_placed(self, group: str, *, any_fitting: bool) -> NotPlaced:
        if any_fitting:
            self._backlog.starve(group)
            return NotPlaced.NO_CREDIT
        return NotPlaced.NO_MEMBER

    def forget(self, task_ids: Iterable[str]) -> None:
        """Prefer others for these tasks: whoever had them last let them lie.

        A process that was stopped keeps its connection and its credits for a while. Giving a task
        back to it each time that its lease has run out would keep the task from everybody else.
        """
        for task_id in task_ids:
            pid = self._last_pid.pop(task_id, None)
            if pid is not None:
                _remember(self._avoided, task_id, pid)

    def forget_tasks(self) -> None:
        """Learn that there are no tasks any more; who is connected stays."""
        self._last_pid.clear()
        self._avoided.clear()
        self._backlog = Backlog()
        self.asides = Asides()

    # Waiting tasks

    def wanted(self) -> Looks:
        """Choose which waiting tasks the next transaction looks at.

        The looks must be reported by `looked` or, when the transaction failed, by `look_again`.
        """
        return self._backlog.wanted(self.free_credits)

    def tasks_came(self, group: str) -> None:
        """Learn of waiting tasks that no member here was offered: another store has queued them."""
        if group in self._by_group:
            self._backlog.tasks_came(group, self.free_credits(group))

    def looked(self, looks: Looks, seen: Mapping[str, Seen]) -> None:
        """Learn what looks at waiting tasks found, by group."""
        self._backlog.looked(looks, seen)

    def look_again(self, looks: Looks) -> None:
        """Learn that looks failed with their transaction."""
        self._backlog.failed(looks)

    # Addresses and numbers

    def seat_at(
        self, address: str, *, named: bool = False, about: str | None = None
    ) -> Seat | None:
        """Find the member that a message to an address, `about` an id, reaches now (§4.4).

        With `named`, an address that prefers a member means no other.
        """
        parsed = parse_address(address)
        seats = self._by_group.get(parsed.group)
        if not seats:
            return None
        chosen = _named(seats, parsed.pid, about)
        if chosen is not None or parsed.unicast or (named and parsed.pid):
            return chosen
        fitting = (s for s in seats.values() if about is None or s.may_have(about))
        if parsed.group != HTTP_GROUP:
            return next(fitting, None)
        relays = list(fitting)  # few, and each sends on only so much at once
        return choice(relays) if relays else None  # noqa: S311 - spreads load

    def prefixes_at(self, address: str) -> frozenset[str]:
        """Tell what ids begin with of which a message to an address reaches somebody now."""
        seat = self.seat_at(address)
        if seat is None:
            return frozenset()
        if not seat.member.prefix:  # may have anything: no need to look at all of a group
            return frozenset({""})
        prefixes = frozenset(s.member.prefix for s in self._candidates(parse_address(address)))
        return frozenset({""}) if "" in prefixes else prefixes

    def addresses(self) -> list[str]:
        """Every address at which any member may be waited for by name."""
        return [address for seat in self._by_pid.values() for address in self.addresses_of(seat)]

    def addresses_of(self, seat: Seat) -> list[str]:
        """Every address at which a member may be waited for by name."""
        name = seat.name
        return [
            address
            for group in seat.member.groups
            if group != HTTP_GROUP
            for address in (
                f"poll://uni@{group}/{name}",
                f"poll://any@{group}/{name}",
                f"poll://any@{group}",
            )
        ]

    def has_group(self, group: str) -> bool:
        """Whether any member is in a group."""
        return group in self._by_group

    def free_credits(self, group: str) -> int:
        """Tasks that the group's members could take now."""
        seats = self._by_group.get(group, {}).values()
        return sum(s.credits for s in seats if s.takes_tasks)

    def workers(self, group: str) -> int:
        """Members of a group that were ever given credits."""
        return sum(s.works for s in self._by_group.get(group, {}).values())

    def groups(self) -> frozenset[str]:
        """List groups with at least one member that works."""
        return frozenset(
            group for group, seats in self._by_group.items() if any(s.works for s in seats.values())
        )

    def status(self) -> list[MemberStatus]:
        """Every member, by pid."""
        return [
            MemberStatus(
                pid=pid,
                groups=seat.member.groups,
                credits=seat.credits,
                held=seat.held,
                connected_at_ms=seat.connected_at_ms,
            )
            for pid, seat in sorted(self._by_pid.items())
        ]


def _preferred(free: Sequence[Seat], name: str, last_pid: str | None) -> Seat | None:
    """Choose whom the target names, of several the first, or who ran the task last."""
    if name:
        for seat in free:
            if seat.name == name:
                return seat
    if last_pid is not None:
        for seat in free:
            # An offer may have been for nothing: the next one goes to anybody.
            if seat.member.pid == last_pid and not seat.is_offered:
                return seat
    return None


def _drawn(free: Sequence[Seat]) -> Seat:
    """Choose the least loaded; those who acquire for themselves are as good as each other."""
    seat = max(free, key=lambda s: s.credits)
    if not any(s.is_offered for s in free):
        return seat
    drawn = choice(free)  # noqa: S311 - spreads load
    return drawn if drawn.is_offered or seat.is_offered else seat


def _named(seats: Mapping[str, Seat], name: str, about: str | None) -> Seat | None:
    """Find the first who has a name; for nearly all members that is the pid."""

    def is_meant(seat: Seat) -> bool:
        return seat.name == name and (about is None or seat.may_have(about))

    if not name:
        return None
    seat = seats.get(name)
    if seat is not None and is_meant(seat):
        return seat
    return next((s for s in seats.values() if is_meant(s)), None)


def _remember(pids: OrderedDict[str, str], task_id: str, pid: str) -> None:
    pids[task_id] = pid
    pids.move_to_end(task_id)
    if len(pids) > WARM_TASKS_MAX:
        pids.popitem(last=False)


def check_member(member: Member) -> None:
    """Raise `BadMember` for an introduction that names the wrong things."""
    for field, text in (
        ("pid", member.pid),
        ("instance_id", member.instance),
        *(("groups", g) for g in member.groups),
        *([("name", member.name)] if member.name else []),
    ):
        flaw = flaw_of_text(text, field=f"hello.{field}")
        if flaw is not None:
            raise BadMember("invalid_text", flaw)
    if len(member.groups) > GROUPS_MAX:
        raise BadMember("too_many_groups", f"hello.groups must be at most {GROUPS_MAX}")
    if not 0 <= member.credits <= CREDITS_MAX:
        raise BadMember("out_of_range", f"hello.credits must be from 0 to {CREDITS_MAX}")
    if member.credits and member.lease_ttl_ms < 1:
        raise BadMember("out_of_range", "hello.lease_ttl_ms must be at least 1 with credits")
    if member.functions is not None and len(member.functions) > FUNCTIONS_MAX:
        raise BadMember("too_many_functions", f"hello.functions must be at most {FUNCTIONS_MAX}")
