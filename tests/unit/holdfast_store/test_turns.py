"""The trees of a group share its room, however many tasks each of them has queued."""

from collections import Counter, deque

from holdfast_store.backlog import Backlog, Seen
from holdfast_store.storage import Turns


class Queue:
    """A group's waiting tasks, by tree; looked at and placed as the store does it."""

    def __init__(self, **trees: int) -> None:
        self.backlog = Backlog()
        self.credits = 0
        self.placed: list[str] = []
        self._numbers = {tree: number for number, tree in enumerate(trees, 1)}
        self._tasks = deque((tree, n) for tree, count in trees.items() for n in range(count))

    def room(self, credits: int) -> None:
        """Let room come about, and look until none is left."""
        self.credits += credits
        self.backlog.room_came("w", credits)
        while looks := self.backlog.wanted(lambda _group: self.credits):
            seen = Seen()
            turns = looks.turns.get("w", Turns(after=0, limit=0))
            for tree, number in sorted(self._numbers.items(), key=lambda item: item[1]):
                if number > turns.after and seen.trees < turns.limit:
                    seen.trees += 1
                    seen.last_tree = number
                    seen.in_turn += self._place(next(t for t in self._tasks if t[0] == tree))
            after = -1 if looks.behind is None else looks.behind.queued_at_ms
            for at_ms, task in enumerate(list(self._tasks)[: looks.groups()["w"]]):
                seen.count += 1
                seen.last = (after + at_ms + 1, "")
                seen.meet(placed=self._place(task))
            self.backlog.looked(looks, {"w": seen})

    def _place(self, task: tuple[str, int]) -> bool:
        if self.credits == 0:
            self.backlog.starve("w")
            return False
        self.credits -= 1
        self._tasks.remove(task)
        self.placed.append(task[0])
        if task[0] not in {tree for tree, _ in self._tasks}:
            del self._numbers[task[0]]
        return True


def test_a_small_tree_behind_a_large_one_has_its_turn_at_once() -> None:
    queue = Queue(large=1_000, small=1)

    for _ in range(8):
        queue.room(1)

    assert "small" in queue.placed


def test_with_more_room_every_tree_has_its_turn_in_the_same_look() -> None:
    queue = Queue(large=1_000, a=3, b=3, c=3)
    queue.room(10)

    queue.room(10)

    assert Counter(queue.placed[10:]) >= Counter(a=1, b=1, c=1)


def test_half_of_the_room_goes_to_the_oldest_whatever_the_trees_do() -> None:
    queue = Queue(old=200, **{f"t{number}": 1 for number in range(400)})

    for _ in range(100):
        queue.room(1)

    assert 50 <= queue.placed.count("old") <= 55


def test_every_tree_has_its_turn_before_one_has_its_second() -> None:
    queue = Queue(large=10_000, **{f"t{number}": 5 for number in range(20)})

    for _ in range(46):
        queue.room(1)

    assert {f"t{number}" for number in range(20)} <= set(queue.placed)


def test_a_queue_that_is_no_longer_than_the_room_needs_no_turns() -> None:
    """They cost a statement."""
    queue = Queue(a=3, b=3)

    queue.room(7)

    assert queue.placed == ["a"] * 3 + ["b"] * 3
