"""Adding up what the store reports."""

from holdfast.rpc.admin import Queue
from holdfast_operator.store import work_of


def queue(group: str, **fields: int) -> Queue:
    numbers = dict.fromkeys(
        ["due", "running", "suspended", "halted", "oldest_due_age_ms", "members", "free_credits"], 0
    )
    return Queue(group=group, **{**numbers, **fields})


def test_the_queues_of_all_groups_are_added_up() -> None:
    work = work_of(
        [
            queue("a", due=1, running=2, oldest_due_age_ms=5, members=1),
            queue("b", due=10, running=20, oldest_due_age_ms=3, members=4),
        ]
    )

    assert (work.due, work.running, work.oldest_due_age_ms, work.members) == (11, 22, 5, 5)
    assert work.tasks == 33
    assert work.unknown == ()


def test_a_group_without_any_trace_is_unknown() -> None:
    work = work_of(
        [queue("a"), queue("b", suspended=1), queue("c", members=1), queue("d", halted=1)]
    )

    assert work.unknown == ("a",)
