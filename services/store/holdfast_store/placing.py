"""Who gets what a transaction leaves: waiting tasks to members, and messages to their inboxes.

Nothing leaves here: what is placed is handed over after the commit, and taken back without one.
"""

from holdfast.core import steps
from holdfast.core import task as tasks
from holdfast.core.membership import DeliveryMode, TaskOffer
from holdfast.core.profile import Profile, Undeliverable
from holdfast.core.records import Task, Unblock
from holdfast.core.requests import Done, TaskAcquire
from holdfast.core.working_set import WorkingSet
from holdfast_store.batches import Decided
from holdfast_store.members import Members, NotPlaced, Seat
from holdfast_store.observer import Observer
from holdfast_store.storage import Loaded


class Placement:
    """Gives tasks and messages to the members that are connected."""

    def __init__(self, members: Members, *, profile: Profile, observer: Observer) -> None:
        self._members = members
        self._profile = profile
        self._observer = observer
        self._drops = profile.undeliverable is Undeliverable.DROP

    def place(self, ws: WorkingSet, loaded: Loaded, decided: Decided) -> None:
        """Give waiting tasks to members within this transaction.

        Those of trees whose turn it is come first: there are half as many of them as there is room
        for. Then the oldest, and then what became ready a moment ago.
        """
        seen = set(loaded.queued)
        in_turn = dict.fromkeys(turn.id for turn in loaded.turns if turn.id is not None)
        fresh = [t.id for t in ws.tasks_touched() if t.queued_at_ms is not None]
        for task_id in dict.fromkeys((*in_turn, *loaded.queued, *fresh)):
            task = ws.task(task_id)
            promise = ws.promise(task_id)
            if task is None or promise is None or task.queued_at_ms is None:
                continue
            waited = task_id in seen or task_id in in_turn
            if waited and not self._may_place(task, decided):
                continue
            placed = self._members.place(task, promise)
            is_placed = not isinstance(placed, NotPlaced)
            if task_id in seen:
                decided.seen[task.address.group].meet(placed=is_placed)
            elif task_id in in_turn and is_placed:
                decided.seen[task.address.group].in_turn += 1
            if not isinstance(placed, NotPlaced):
                self._hand_over(ws, task, placed, loaded.now_ms, decided)
            elif placed is NotPlaced.NO_MEMBER and self._drops and not self._members.has_neighbors:
                # The retry timer brings the message back, as in stores that hold nothing (§0.4).
                steps.claim_execute(ws, task_id, now_ms=loaded.now_ms, profile=self._profile)
                self._observer.delivered(status="dropped")

    def _may_place(self, task: Task, decided: Decided) -> bool:
        """Whether the database may be asked to give out a task that waited, beside the others."""
        group = task.address.group
        found = decided.seen[group]
        if self._members.asides.may_place(group=group, placed=found.taken):
            return True
        found.meet(placed=False)
        return False

    def _hand_over(
        self, ws: WorkingSet, task: Task, seat: Seat, now_ms: int, decided: Decided
    ) -> None:
        member = seat.member
        if member.delivery_mode is DeliveryMode.OFFERED:
            steps.claim_execute(ws, task.id, now_ms=now_ms, profile=self._profile)
            offer = TaskOffer(id=task.id, version=task.version, address=task.target)
            decided.offers.append((seat, offer))
            return
        request = TaskAcquire(
            id=task.id,
            version=task.version,
            pid=member.pid,
            ttl_ms=member.lease_ttl_ms,
            instance=member.instance,
            seat=seat.id,
        )
        outcome = tasks.acquire(ws, request, now_ms=now_ms)
        if isinstance(outcome, Done) and outcome.task is not None:
            decided.pushes.append((seat, outcome.task))
        else:  # its deadline passed a moment ago: the sweep settles it
            self._members.unplace(seat)

    def undo(self, decided: Decided) -> None:
        """Take back what was placed by a transaction that did not commit."""
        for seat, _ in (*decided.pushes, *decided.offers):
            self._members.unplace(seat)
        self._members.asides.undone(decided.given())

    def unreachable(self, ws: WorkingSet, decided: Decided) -> list[Unblock]:
        """Split messages into those a connected member gets after the commit, and the rest."""
        kept = []
        for unblock in ws.unblocks():
            # Whom the address prefers may sit at another store, which takes the message then.
            seat = self._members.seat_at(
                unblock.address, named=self._members.has_neighbors, about=unblock.promise_id
            )
            promise = ws.promise(unblock.promise_id)
            assert promise is not None
            if seat is None:
                kept.append(unblock)
            elif (relay := seat.relay) is not None:
                decided.unblocks.append((relay, unblock.address, promise))
            else:
                decided.settled.append((seat, promise))
        return kept
