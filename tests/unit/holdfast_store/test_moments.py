"""What arrives together and names different instants is decided apart, each at its own."""

from collections.abc import Sequence

from holdfast.core.requests import Outcome, PromiseGet
from holdfast_store.backlog import Looks
from holdfast_store.batches import Batch, Entry, Gone
from holdfast_store.moments import of_one_instant_each
from holdfast_store.suspects import DueRows

GONE = Gone(pid="p", instance="i")
LOOKS = Looks({"g": 1})


def entry(name: str, at_ms: int | None) -> Entry:
    def answer(_outcomes: Sequence[Outcome]) -> None:
        raise AssertionError("nothing is carried out here")

    return Entry([PromiseGet(id=name)], answer, at_ms=at_ms)


def names(batch: Batch) -> list[str]:
    asked = [request for each in batch.entries for request in each.chain]
    return [request.id for request in asked if isinstance(request, PromiseGet)]


def test_neighbors_of_one_instant_stay_together_and_all_keep_their_order() -> None:
    entries = [entry(name, at_ms) for name, at_ms in zip("abcde", (5, 5, 3, None, 5), strict=True)]

    parts = of_one_instant_each(Batch(entries=entries), stage_ms=9)

    assert [(part.at_ms, names(part)) for part in parts] == [
        (5, ["a", "b"]),
        (3, ["c"]),
        (None, ["d"]),
        (5, ["e"]),
    ]


def test_what_members_cause_takes_place_at_the_last_instant_that_was_named() -> None:
    batch = Batch(entries=[entry("a", 5), entry("b", None)], lost=[GONE], looks=LOOKS)

    lost, *_, looks = of_one_instant_each(batch, stage_ms=9)

    assert (lost.lost, lost.at_ms) == ([GONE], 9)
    assert (looks.looks, looks.at_ms) == (LOOKS, 5)


def test_a_sweep_that_the_clock_asked_for_keeps_the_clock() -> None:
    suspects = DueRows(promises=("p",))
    batch = Batch(entries=[entry("a", 5)], due=True, suspects=suspects, looks=LOOKS)

    parts = of_one_instant_each(batch, stage_ms=None)

    assert (parts[-1].due, parts[-1].suspects, parts[-1].at_ms) == (True, suspects, None)
    assert not any(part.due or part.suspects.ids for part in parts[:-1])


def test_nothing_is_taken_apart_into_nothing() -> None:
    assert of_one_instant_each(Batch(), stage_ms=5) == []


def test_what_the_database_refuses_is_looked_for_at_the_same_instant() -> None:
    batch = Batch(entries=[entry("a", 5), entry("b", 5)], lost=[GONE], looks=LOOKS, at_ms=5)

    parts = batch.parts()
    halves = parts[0].parts()

    assert len(parts) == 3
    assert len(halves) == 2
    assert {part.at_ms for part in (*parts, *halves)} == {5}
