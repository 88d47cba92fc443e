"""Where to look for waiting tasks that somebody could take now, and when there is no use in it.

As soon as a queue is longer than the room, half of the room goes to the oldest tasks and half to
the trees in turn: one that has queued a hundred thousand tasks must not keep a small one waiting
behind all of them.

A task that nobody could take when it became due waits in the database. It is worth looking for
when room comes about: a credit that returns, a member that joins. A look goes from the oldest
waiting task on, by as many transactions as it takes, each of which passes over a bounded number of
tasks: nobody may fit the first hundred thousand, and they must not hide the one behind them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from holdfast_store.storage import Behind, Turns
from holdfast_store.trees import START

LOOK_MAX = 1_024
"""Waiting tasks that one transaction may look at, of all groups together."""

Place = tuple[int, str]
"""Where a task waits in the queue of its group: since when, and its id."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What one transaction looks at: the oldest tasks of groups, or further back in one."""

    oldest: Mapping[str, int]
    behind: Behind | None = None
    turns: Mapping[str, Turns] = field(default_factory=dict)
    """Trees whose turn it is, in groups that are looked at."""

    def __bool__(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self.oldest) or self.behind is not None

    def apart(self) -> "list[Looks]":
        """Take apart what does not depend on each other."""
        looks = [
            Looks({group: limit}, turns=self._turns_of(group))
            for group, limit in self.oldest.items()
        ]
        if self.behind is None:
            return looks
        return [*looks, Looks({}, self.behind, self._turns_of(self.behind.group))]

    def _turns_of(self, group: str) -> dict[str, Turns]:
        return {group: self.turns[group]} if group in self.turns else {}

    def groups(self) -> dict[str, int]:
        """How many tasks at most of each group."""
        if self.behind is None:
            return dict(self.oldest)
        return {**self.oldest, self.behind.group: self.behind.limit}


NO_LOOKS = Looks({})


@dataclass(slots=True)
class Seen:
    """What a look found in one group."""

    count: int = 0
    last: Place = (0, "")
    """Where the last task that was found waits."""
    placed: int = 0
    met: int = 0
    """How many were offered to members so far, in their order."""
    passed_over: int = 0
    """How many of them found nobody, up to the last one that was placed."""
    in_turn: int = 0
    """How many more were placed because it was the turn of their trees."""
    trees: int = 0
    last_tree: int = START
    """How many trees had their turn, and which was the last."""

    @property
    def taken(self) -> int:
        """How much room was used."""
        return self.placed + self.in_turn

    def meet(self, *, placed: bool) -> None:
        """Note the next task, and whether somebody took it."""
        self.met += 1
        if placed:
            self.placed += 1
            self.passed_over = self.met - self.placed

    @property
    def in_the_way(self) -> int:
        """How many tasks a look must pass over to come as far again."""
        return self.passed_over if self.placed else self.count


@dataclass(slots=True)
class _Group:
    """The look at one group's waiting tasks."""

    room: int = 0
    """Credits that came about and that the look has not used yet: it goes on while there are."""
    later: int = 0
    """Credits that came about behind the look's back: they are worth another one from the start."""
    in_the_way: int = 0
    """How many tasks the last look passed over: the next one reaches over them at once."""
    behind: Place | None = None
    """How far the look has come; `None` at the start."""
    under_way: bool = False
    """A transaction looks right now."""
    starved: bool = False
    """Tasks may wait for room, so that a credit that returns is worth a look."""
    front_next: bool = False
    """The next transaction begins at the start again, so that the oldest need not wait long."""
    crowded: bool = False
    """The queue was longer than the last look: its trees take turns."""
    tree: int = START
    """The tree that had the last turn."""
    granted: int = 0
    """The room of the look under way that is shared with the trees."""
    odd: int = 0
    """What was left over when the last such room was halved."""

    @property
    def wanted(self) -> bool:
        return not self.under_way and self.room > 0

    def share(self, limit: int) -> int:
        """How many trees have their turn: half of the room, or one for every second credit."""
        self.granted = min(max(self.room, self.later), limit) if self.crowded else 0
        return (self.granted + self.odd) // 2


class Backlog:
    """The looks at all groups that have members."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def __len__(self) -> int:
        """How many groups are remembered."""
        return len(self._groups)

    # What happens

    def room_came(self, group: str, credits: int) -> None:
        """Learn of room in a group, in which anything may wait."""
        if credits <= 0:
            return
        known = self._groups.setdefault(group, _Group())
        if known.under_way or known.behind is not None:
            known.later += credits
        else:
            known.room += credits

    def tasks_came(self, group: str, credits: int) -> None:
        """Learn that tasks wait which nobody here has met, and how much room there is for them.

        Without room it is worth a look when some comes about. Told again and again, it does not
        add up: the room is there once.
        """
        known = self._groups.setdefault(group, _Group())
        known.starved = True
        if known.under_way or known.behind is not None:
            known.later = max(known.later, credits)
        else:
            known.room = max(known.room, credits)

    def credits_returned(self, group: str, credits: int) -> None:
        """Learn of room in a group: without a task that waits for it, it is not worth a look."""
        known = self._groups.get(group)
        if known is not None and known.starved and credits > 0:
            known.starved = False
            self.room_came(group, credits)

    def starve(self, group: str) -> None:
        """Learn that a task found no room."""
        self._groups.setdefault(group, _Group()).starved = True

    def forget(self, group: str) -> None:
        """Learn that a group has no members: whoever joins it looks in any case."""
        self._groups.pop(group, None)

    # Looking

    def wanted(self, free_credits: Callable[[str], int]) -> Looks:
        """Choose what the next transaction looks at; `free_credits` answers for a group.

        The looks must be reported by `looked` or, when the transaction failed, by `failed`.
        """
        oldest: dict[str, int] = {}
        turns: dict[str, Turns] = {}
        behind: Behind | None = None
        left = LOOK_MAX
        for group in [name for name, known in self._groups.items() if known.wanted]:
            if left <= 0:
                break
            if free_credits(group) <= 0:
                continue
            known = self._groups.pop(group)
            self._groups[group] = known  # those that had no turn come first next time
            if known.behind is None or known.front_next:
                limit = oldest[group] = min(left, max(known.room, known.later) + known.in_the_way)
            elif behind is None:
                limit = left
                behind = Behind(
                    group=group, queued_at_ms=known.behind[0], id=known.behind[1], limit=limit
                )
            else:
                continue
            left -= limit
            known.under_way = True
            share = known.share(limit)
            if share:
                turns[group] = Turns(after=known.tree, limit=share)
        return Looks(oldest, behind, turns)

    def failed(self, looks: Looks) -> None:
        """Learn that the transaction of looks failed: they are wanted again."""
        for group in looks.groups():
            if group in self._groups:
                self._groups[group].under_way = False

    def looked(self, looks: Looks, seen: Mapping[str, Seen]) -> None:
        """Learn what looks found."""
        for group, limit in looks.groups().items():
            known = self._groups.get(group)
            # Without members a group is forgotten, and one that comes back begins anew.
            if known is None or not known.under_way:
                continue
            known.under_way = False
            found = seen.get(group, Seen())
            known.odd = (known.granted + known.odd) % 2
            if group in looks.turns:
                is_round = found.trees < looks.turns[group].limit
                known.tree = START if is_round else found.last_tree
            known.in_the_way = found.in_the_way + (0 if group in looks.oldest else known.in_the_way)
            if known.behind is not None and group in looks.oldest:
                self._looked_in_front(known, found)
            else:
                self._looked_on(known, found, limit)

    def _looked_in_front(self, known: _Group, found: Seen) -> None:
        """Go on where the look was, for what the oldest tasks left of the room."""
        known.front_next = False
        known.later = max(0, known.later - found.taken)

    def _looked_on(self, known: _Group, found: Seen, limit: int) -> None:
        """Go on behind the last one, unless the room is used or the queue at its end."""
        known.room -= found.taken
        is_end = found.count < limit
        known.crowded = not is_end
        if known.room > 0 and not is_end:
            known.behind = found.last
            known.front_next = known.later > 0
            return
        known.starved = known.starved or not is_end
        known.behind = None
        known.room, known.later = known.later, 0
