"""How much a record counts against the byte bound of a preload, the same on every database."""

from collections.abc import Mapping, Sequence
from typing import Final

from holdfast.core.ids import bytes_of
from holdfast.core.records import BRANCH, PARENT, Preload, Promise
from holdfast.core.working_set import Changes

PROMISE_OVERHEAD_BYTES = 64
"""Added for the fields of fixed size; no promise counts for less, so that bytes bound rows too."""

NO_CHILDREN: Final = Preload(promises=(), complete=True)


def born_without_children(changes: Changes) -> frozenset[str]:
    """List promises that begin a branch of their own, and that no other of the batch belongs to.

    Only what was there before them, and names them nevertheless, can be a child of theirs.
    """
    beginning: set[str] = set()
    named: set[str] = set()
    for promise in changes.promises_created:
        branch, parent = promise.tags.get(BRANCH), promise.tags.get(PARENT)
        if branch == promise.id:
            beginning.add(promise.id)
        named.update(name for name in (branch, parent) if name and name != promise.id)
    return frozenset(beginning - named)


def counted_bytes(promise: Promise) -> int:
    """Count the bytes of a promise's id, payloads and tags, and of its fixed fields."""
    tags = promise.tags
    total = PROMISE_OVERHEAD_BYTES + _bytes_of((promise.id, *tags, *tags.values()))
    for value in (promise.param, promise.value):
        if value.data is not None:
            total += len(value.data)
        if value.headers:
            total += _bytes_of((*value.headers, *value.headers.values()))
    return total


def rows_max(bytes_max: int) -> int:
    """Say how many promises need to be looked at before a byte bound is certainly passed."""
    return bytes_max // PROMISE_OVERHEAD_BYTES + 2


def fitting(sizes: Mapping[str, int], bytes_max: int) -> list[str]:
    """Answer the first ids, in byte order, whose sizes together keep to a bound."""
    total = 0
    found = []
    for promise_id in sorted(sizes):
        total += sizes[promise_id]
        if total > bytes_max:
            break
        found.append(promise_id)
    return found


def _bytes_of(texts: tuple[str, ...]) -> int:
    return bytes_of("".join(texts))


def first_within(sizes: Sequence[int], bytes_max: int) -> int:
    """Answer how many of the first fit into so many bytes together: one in any case."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > bytes_max and count:
            return count
    return len(sizes)
