"""Which tree a task belongs to, as a number by which the trees of a group take turns.

One workflow may start a hundred thousand children at once. Told apart by their trees, they take one
turn of many and not the whole queue. A number, because an id is too long for one more column of an
index; two trees that share one share their turns, which harms neither.
"""

from collections.abc import Mapping
from typing import Final
from zlib import crc32

from holdfast.core.ids import composite_origin
from holdfast.core.records import ORIGIN, PREFIX

START: Final = -1
"""Before the first tree."""

_NO_TAGS: Final[Mapping[str, str]] = {}


def tree_of(promise_id: str, tags: Mapping[str, str] = _NO_TAGS) -> int:
    """Answer the number of a promise's tree, the same in every process and version.

    The prefix comes before the origin: a child with an id of its own begins a tree in the sense of
    the protocol, and is work of the same run all the same.
    """
    name = tags.get(PREFIX) or tags.get(ORIGIN) or composite_origin(promise_id)
    return crc32(name.encode(errors="replace"))
