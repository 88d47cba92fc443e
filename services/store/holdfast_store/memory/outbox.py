"""Messages about settled promises that wait in memory for whoever they are addressed to."""

from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest

from holdfast.core.records import Promise, Unblock
from holdfast_store.preloads import counted_bytes, first_within


class MemoryOutbox:
    """By address, which promises are to be told of, and since when."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, int]] = {}

    def put(self, unblocks: Iterable[Unblock]) -> None:
        """Add messages; there is one of each promise for an address."""
        for unblock in unblocks:
            waiting = self.messages.setdefault(unblock.address, {})
            waiting[unblock.promise_id] = unblock.enqueued_at_ms

    def addresses(self, scheme: str, *, behind: str, limit: int) -> Sequence[str]:
        """List so many addresses of a scheme behind one, in order."""
        of_scheme = (a for a in self.messages if a.startswith(f"{scheme}:") and a > behind)
        return nsmallest(limit, of_scheme)

    def take(
        self,
        addresses: Sequence[str],
        promises: Mapping[str, Promise],
        *,
        limit: int,
        bytes_max: int,
        prefix: str = "",
    ) -> list[tuple[str, Promise]]:
        """Delete messages, and answer their addresses and promises; until there are none."""
        while True:
            found = sorted(
                (enqueued_at_ms, promise_id, address)
                for address in set(addresses)
                for promise_id, enqueued_at_ms in self.messages.get(address, {}).items()
                if promise_id.startswith(prefix)
            )[:limit]
            sizes = [counted_bytes(promises[key]) if key in promises else 0 for _, key, _ in found]
            taken = found[: first_within(sizes, bytes_max)]
            for _, promise_id, address in taken:
                self._remove(address, promise_id)
            there = [(a, promises[key]) for _, key, a in taken if key in promises]
            if there or not taken:
                return there

    def drop(self, before_ms: int) -> int:
        """Delete messages that were enqueued before an instant; answer how many."""
        old = [
            (address, promise_id)
            for address, waiting in self.messages.items()
            for promise_id, enqueued_at_ms in waiting.items()
            if enqueued_at_ms < before_ms
        ]
        for address, promise_id in old:
            self._remove(address, promise_id)
        return len(old)

    def _remove(self, address: str, promise_id: str) -> None:
        waiting = self.messages[address]
        del waiting[promise_id]
        if not waiting:
            del self.messages[address]
