"""A group's waiting tasks in memory are found by their age and by the turns of their trees."""

import random

from holdfast_store.memory.queue import MemoryQueue
from holdfast_store.storage import Turns
from holdfast_store.trees import START


def turns(queue: MemoryQueue, limit: int, *, after: int = START) -> list[tuple[int, str]]:
    return queue.turns(Turns(after=after, limit=limit))


def test_each_tree_has_one_turn_with_its_oldest_task() -> None:
    queue = MemoryQueue()
    for task_id, at_ms, tree in (("b", 2, 7), ("a", 2, 7), ("c", 1, 9), ("d", 0, 7)):
        queue.put(task_id, at_ms, tree)

    assert turns(queue, 5) == [(7, "d"), (9, "c")]
    assert turns(queue, 1) == [(7, "d")]
    assert turns(queue, 5, after=7) == [(9, "c")]
    assert turns(queue, 5, after=9) == []


def test_a_task_that_left_or_moved_is_in_both_orders_or_in_neither() -> None:
    dice = random.Random(5)
    queue = MemoryQueue()
    expected: dict[str, tuple[int, int]] = {}
    for _ in range(3_000):
        number = dice.randrange(60)
        task_id, tree = str(number), number % 7
        at_ms = dice.choice([None, dice.randrange(20)])
        queue.put(task_id, at_ms, tree)
        if at_ms is None:
            expected.pop(task_id, None)
        else:
            expected[task_id] = (tree, at_ms)
        by_tree = sorted((tree, at, key) for key, (tree, at) in expected.items())

        assert queue.oldest(100, ()) == sorted((at, key) for key, (_, at) in expected.items())
        assert dict(turns(queue, 100)) == {tree: key for tree, _, key in reversed(by_tree)}
        assert len(queue) == len(expected)
