"""Which ids a listing may have: its position and its prefix, in the byte order of UTF-8."""

import pytest

from holdfast.core.ids import bytes_of
from holdfast.core.limits import ID_BYTES_MAX
from holdfast.core.search import (
    PromiseSearch,
    ScheduleSearch,
    TaskSearch,
    flaw_of_search,
    search_within,
)

IDS = ("", "a", "a\x01", "a/", "a/1", "a0", "b", "é", "\ud7ff", "\ue000", "\U0010ffff" * 256)


@pytest.mark.parametrize("cursor", ["", "a", "a/1", "a\0b", "\U0010ffff"])
@pytest.mark.parametrize("prefix", ["a", "a/", "\ud7ff", "\U0010ffff", "c"])
def test_the_bounds_say_the_same_as_position_and_prefix(cursor: str, prefix: str) -> None:
    search = PromiseSearch(cursor=cursor, id_prefix=prefix)
    first, end = search.first.encode(), search.end.encode()

    for each in IDS:
        assert bytes_of(each) <= ID_BYTES_MAX
        assert (first <= each.encode() < end) == search.is_about(each), each


@pytest.mark.parametrize("search", [PromiseSearch, TaskSearch, ScheduleSearch])
@pytest.mark.parametrize(
    ("asked", "prefix", "narrowed"),
    [
        ("", "", ""),
        ("", "a/", "a/"),
        ("a", "a/", "a/"),
        ("a/", "a/", "a/"),
        ("a/1", "a/", "a/1"),
        ("a/1", "", "a/1"),
        ("b", "a/", None),
        ("a/1", "a/2", None),
    ],
)
def test_a_listing_is_narrowed_and_never_widened(
    search: type[PromiseSearch] | type[TaskSearch] | type[ScheduleSearch],
    asked: str,
    prefix: str,
    narrowed: str | None,
) -> None:
    found = search_within(search(id_prefix=asked, limit=7, cursor="x"), prefix)

    expected = None if narrowed is None else search(id_prefix=narrowed, limit=7, cursor="x")
    assert found == expected


@pytest.mark.parametrize("prefix", ["\ud800", "a\0"])
def test_a_prefix_that_no_id_can_have_is_refused_by_name(prefix: str) -> None:
    flaw = flaw_of_search(TaskSearch(id_prefix=prefix))

    assert flaw is not None
    assert flaw.code == "invalid_text"
    assert flaw.message.startswith("id_prefix must")
