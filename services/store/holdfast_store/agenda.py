"""Keys in the order of their instants: what a partial index on a due instant is to a database."""

from heapq import heapify, heappop, heappush

_STALE_MIN = 1_000
"""Stale entries are left alone below this number, so that small agendas are never rebuilt."""


class Agenda:
    """Keys, each with one instant, found in the order of instant and key.

    A changed or removed key leaves its entry in the heap, where it is skipped when it comes up;
    when most entries are stale the heap is built anew, so that memory follows the live keys.
    """

    __slots__ = ("_at_ms", "_heap")

    def __init__(self) -> None:
        self._at_ms: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._at_ms)

    def put(self, key: str, at_ms: int | None) -> None:
        """Set, move, or with `None` remove a key."""
        before = self._at_ms.get(key)
        if at_ms == before:
            return
        if at_ms is None:
            del self._at_ms[key]
        else:
            self._at_ms[key] = at_ms
            heappush(self._heap, (at_ms, key))
        if len(self._heap) > 2 * len(self._at_ms) + _STALE_MIN:
            self._heap = [(at_ms, key) for key, at_ms in self._at_ms.items()]
            heapify(self._heap)

    def at_ms(self, key: str) -> int:
        """Answer the instant of a key that is here."""
        return self._at_ms[key]

    def next_at_ms(self) -> int | None:
        """Answer the earliest instant; `None` when empty."""
        heap = self._heap
        while heap and self._at_ms.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def first(self, limit: int, *, until_ms: int | None = None) -> list[str]:
        """So many keys, earliest first, none later than `until_ms`; they stay where they are."""
        found: dict[str, int] = {}
        while len(found) < limit:
            at_ms = self.next_at_ms()
            if at_ms is None or (until_ms is not None and at_ms > until_ms):
                break
            _, key = heappop(self._heap)
            found[key] = at_ms  # a key moved away and back has two entries; one remains
        for key, at_ms in found.items():
            heappush(self._heap, (at_ms, key))
        return list(found)

    def entries(self, limit: int) -> list[tuple[int, str]]:
        """So many instants and keys, earliest first; they stay where they are."""
        return [(self._at_ms[key], key) for key in self.first(limit)]
