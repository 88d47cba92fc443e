"""What stores tell each other survives its way, says too much rather than too little, and ends."""

import json

import pytest

from holdfast_store.wakeups import (
    EVERYTHING,
    MESSAGE_BYTES_MAX,
    NAMES_MAX,
    NO_NEWS,
    News,
    read,
    written,
)

STRANGE = ("ü", "組", "\U0001f980", 'quote"', "back\\slash", "line\nend", " ", "g" * 1_024)


def news(*groups: str, addresses: tuple[str, ...] = ()) -> News:
    return News(groups=frozenset(groups), addresses=frozenset(addresses))


def test_a_message_is_read_as_it_was_written() -> None:
    told = news(*STRANGE, addresses=tuple(f"poll://uni@{g}/{g}" for g in STRANGE[:5]))

    heard = read(written("store", 7, told))

    assert (heard.store, heard.number, heard.news) == ("store", 7, told)


def test_a_sign_of_life_says_nothing_else() -> None:
    heard = read(written("store", 1, NO_NEWS))

    assert not heard.news
    assert heard.store == "store"


def test_what_does_not_fit_becomes_everything() -> None:
    """Bytes count, not characters: a name of 1024 bytes may have 256 of them."""
    eight = news(*(chr(0x1F980 + n) * 256 for n in range(8)))

    text = written("store", 1, eight)

    assert read(text).news == EVERYTHING
    assert len(text.encode()) < MESSAGE_BYTES_MAX
    assert read(written("store", 1, news(*("g" * 1_024,)))).news != EVERYTHING


def test_news_come_together_until_they_are_too_many() -> None:
    both = news("a", addresses=("x",)) | news("b", addresses=("x", "y"))

    assert both == news("a", "b", addresses=("x", "y"))
    assert both | EVERYTHING == EVERYTHING
    assert NO_NEWS | both == both
    many = news(*map(str, range(NAMES_MAX)))
    assert many | NO_NEWS == many
    assert many | both == EVERYTHING


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", "7", "null", '{"store": "s"}', '{"store":"s","number":"x"}']
)
def test_what_cannot_be_read_may_mean_anything_and_is_nobodys_own(text: str) -> None:
    heard = read(text)

    assert heard.news == EVERYTHING
    assert heard.store == ""


def test_a_message_of_a_later_version_may_say_more() -> None:
    text = json.dumps({"store": "s", "number": 1, "groups": ["g"], "moons": ["Io"]})

    assert read(text).news == news("g")
