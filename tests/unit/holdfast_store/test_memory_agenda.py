"""The agenda: keys in the order of their instants, whatever was moved or removed."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast_store.agenda import Agenda

KEYS = st.sampled_from("abcdef")
INSTANTS = st.one_of(st.none(), st.integers(0, 5))


@given(changes=st.lists(st.tuples(KEYS, INSTANTS)), limit=st.integers(0, 7), until=INSTANTS)
def test_it_answers_what_a_sorted_list_would(
    changes: list[tuple[str, int | None]], limit: int, until: int | None
) -> None:
    agenda, naive = Agenda(), dict[str, int]()

    for key, at_ms in changes:
        agenda.put(key, at_ms)
        naive.pop(key, None)
        if at_ms is not None:
            naive[key] = at_ms

    ordered = sorted((at_ms, key) for key, at_ms in naive.items())
    within = [key for at_ms, key in ordered if until is None or at_ms <= until]
    for _ in range(2):  # looking changes nothing
        assert agenda.first(limit, until_ms=until) == within[:limit]
        assert agenda.next_at_ms() == (ordered[0][0] if ordered else None)
    assert len(agenda) == len(naive)


def test_a_lease_that_is_extended_for_ever_takes_no_more_room() -> None:
    agenda = Agenda()

    for at_ms in range(100_000):
        agenda.put("lease", at_ms)

    assert len(agenda._heap) < 2_000
    assert agenda.first(5) == ["lease"]
    assert agenda.at_ms("lease") == 99_999


def test_removing_what_is_not_there_does_nothing() -> None:
    agenda = Agenda()

    agenda.put("a", None)

    assert agenda.next_at_ms() is None
