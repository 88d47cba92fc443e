"""What waits for a transaction is bounded, and every sender has its turn."""

from collections.abc import Sequence

from holdfast.core.requests import PromiseGet, Refusal
from holdfast_store.batches import Entry
from holdfast_store.intake import ANYBODY, Intake

PLENTY = 10**9


def entry(name: str, *, operations: int = 1, size: int = 0) -> Entry:
    return Entry([PromiseGet(id=name)] * operations, lambda _outcomes: None, size=size)


def names(entries: Sequence[Entry]) -> list[str]:
    return [request.id for each in entries for request in each.chain[:1]]  # type: ignore[union-attr]


def put(intake: Intake, sender: str, *chains: Entry) -> list[Refusal]:
    """Put in what there is room for; answer the refusals."""
    refusals = []
    for each in chains:
        refusal = intake.refusal(sender, operations=len(each.chain), size=each.size)
        if refusal is None:
            intake.put(sender, each)
        else:
            refusals.append(refusal)
    return refusals


def test_senders_take_turns_and_each_keeps_its_order() -> None:
    intake = Intake(operations_max=100, bytes_max=PLENTY)
    put(intake, "a", *(entry(f"a{n}") for n in range(4)))
    put(intake, "b", *(entry(f"b{n}") for n in range(2)))

    first = intake.take(operations_max=3, bytes_max=PLENTY)
    rest = intake.take(operations_max=100, bytes_max=PLENTY)

    assert names(first) == ["a0", "b0", "a1"]
    assert names(rest) == ["b1", "a2", "a3"]
    assert not intake


def test_one_chain_is_delayed_by_one_of_each_other_sender_at_most() -> None:
    intake = Intake(operations_max=100_000, bytes_max=PLENTY)
    put(intake, "flood", *(entry("f", operations=32) for _ in range(1_000)))

    put(intake, "quiet", entry("q"))

    assert names(intake.take(operations_max=33, bytes_max=PLENTY)) == ["f", "q"]


def test_a_batch_ends_at_its_bytes() -> None:
    intake = Intake(operations_max=100, bytes_max=PLENTY)
    put(intake, "a", *(entry(f"a{n}", size=4) for n in range(5)))

    assert names(intake.take(operations_max=100, bytes_max=10)) == ["a0", "a1", "a2"]


def test_beyond_the_operations_a_chain_is_refused() -> None:
    intake = Intake(operations_max=4, bytes_max=PLENTY)

    refused = put(intake, ANYBODY, *(entry("p", operations=2) for _ in range(3)))

    assert [(r.status, r.code) for r in refused] == [(429, "overloaded")]


def test_beyond_the_bytes_a_chain_is_refused() -> None:
    intake = Intake(operations_max=100, bytes_max=10)

    refused = put(intake, ANYBODY, *(entry("p", size=4) for _ in range(4)))

    assert [(r.status, r.code) for r in refused] == [(429, "overloaded")] * 2


def test_a_chain_larger_than_the_bound_comes_in_by_itself() -> None:
    intake = Intake(operations_max=100, bytes_max=10)

    assert put(intake, "a", entry("large", size=50)) == []
    assert len(put(intake, ANYBODY, entry("p", size=1))) == 1


def test_one_stream_fills_half_of_the_room_and_leaves_the_rest_to_others() -> None:
    for of_one in (entry("p"), entry("p", size=10)):
        intake = Intake(operations_max=10, bytes_max=100)

        refused = put(intake, "greedy", *[of_one] * 10)

        assert len(refused) == 5
        assert "stream's share" in refused[0].message
        assert put(intake, "other", *[of_one] * 5) == []
        assert len(put(intake, "third", of_one)) == 1


def test_room_comes_back_with_what_is_taken() -> None:
    intake = Intake(operations_max=2, bytes_max=8)
    put(intake, ANYBODY, entry("a", size=4), entry("b", size=4))
    intake.take(operations_max=1, bytes_max=PLENTY)

    assert put(intake, ANYBODY, entry("c", size=4)) == []
    assert names(intake.empty()) == ["b", "c"]
    assert put(intake, ANYBODY, entry("d", operations=2, size=8)) == []
