"""Due rows that the database refuses are found, set aside, and tried again ever more rarely."""

from holdfast_store.storage import Armed
from holdfast_store.suspects import ASIDE_MAX, PAUSE_S_MAX, DueRows, Suspects

NOW_MS = 100


def armed(*ids: str, at_ms: int = NOW_MS) -> Armed:
    return Armed(promises=[(at_ms, i) for i in ids], tasks=[])


def swept(suspects: Suspects, culprits: set[str]) -> tuple[list[str], dict[str, float]]:
    """Sweep all parts on a database that refuses some ids; answer what it took, and the pauses."""
    taken: list[str] = []
    pauses: dict[str, float] = {}
    while (rows := suspects.next_part()).ids:
        if culprits.intersection(rows.ids):
            pause = suspects.refused(rows)
            if pause is not None:
                pauses[pause.id] = pause.pause_s
        else:
            suspects.cleared(rows)
            taken += rows.ids
    return taken, pauses


def test_the_culprits_among_many_are_set_aside_and_the_others_swept() -> None:
    suspects = Suspects()
    ids = [f"p{n}" for n in range(100)]

    assert suspects.suspect(armed(*ids), now_ms=NOW_MS)
    taken, pauses = swept(suspects, {"p17", "p18", "p99"})

    assert sorted(taken) == sorted(set(ids) - {"p17", "p18", "p99"})
    assert pauses == {"p17": 1.0, "p18": 1.0, "p99": 1.0}
    assert suspects.skipped == {"p17", "p18", "p99"}
    assert suspects.set_aside == 3


def test_whatever_is_suspected_is_skipped_until_it_is_cleared() -> None:
    suspects = Suspects()
    suspects.suspect(armed("a", "b"), now_ms=NOW_MS)
    assert suspects.skipped == {"a", "b"}

    rows = suspects.next_part()
    assert suspects.skipped == {"a", "b"}, "while it is tried as well"
    suspects.cleared(rows)

    assert suspects.skipped == frozenset()


def test_pauses_grow_up_to_a_bound() -> None:
    suspects = Suspects()
    suspects.suspect(armed("a"), now_ms=NOW_MS)
    pauses = []
    for _ in range(2_000):
        _, refused = swept(suspects, {"a"})
        pauses.append(refused["a"])
        suspects.try_again(DueRows(promises=("a",)))

    assert pauses[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert set(pauses[10:]) == {PAUSE_S_MAX}


def test_a_row_that_the_database_takes_after_all_is_as_good_as_any() -> None:
    suspects = Suspects()
    suspects.suspect(armed("a"), now_ms=NOW_MS)
    swept(suspects, {"a"})

    suspects.try_again(DueRows(promises=("a",)))
    taken, _ = swept(suspects, set())

    assert taken == ["a"]
    assert suspects.set_aside == 0
    suspects.suspect(armed("a"), now_ms=NOW_MS)
    assert swept(suspects, {"a"})[1] == {"a": 1.0}, "and begins anew when it is refused again"


def test_a_promise_and_its_task_stay_together() -> None:
    suspects = Suspects()
    both = Armed(promises=[(1, "a"), (1, "b")], tasks=[(1, "b"), (1, "c")])
    suspects.suspect(both, now_ms=NOW_MS)
    seen = []
    while (rows := suspects.next_part()).ids:
        seen.append(rows)
        suspects.refused(rows)

    assert [rows for rows in seen if rows.ids == ["b"]] == [DueRows(("b",), ("b",))]
    assert {rows.ids[0] for rows in seen if len(rows.ids) == 1} == {"a", "b", "c"}


def test_only_what_is_due_and_unknown_is_suspected() -> None:
    suspects = Suspects()
    suspects.suspect(armed("a"), now_ms=NOW_MS)

    later = Armed(promises=[(NOW_MS, "a"), (NOW_MS, "b"), (NOW_MS + 1, "c")], tasks=[])
    assert suspects.suspect(later, now_ms=NOW_MS)
    assert suspects.skipped == {"a", "b"}
    assert not suspects.suspect(later, now_ms=NOW_MS), "there is nothing left to suspect"


def test_a_database_that_refuses_everything_does_not_fill_the_memory() -> None:
    suspects = Suspects()
    for start in range(0, 2 * ASIDE_MAX, 500):
        ids = [str(n) for n in range(start, start + 500)]
        if suspects.suspect(armed(*ids), now_ms=NOW_MS):
            swept(suspects, set(ids))

    assert suspects.set_aside == ASIDE_MAX
