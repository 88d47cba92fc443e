"""Write a snapshot out as lines."""

from collections.abc import AsyncIterator, Callable, Sequence
from importlib import metadata

from holdfast.core.checks.snapshot import Violation
from holdfast_store.archives import lines
from holdfast_store.archives.port import UNREADABLE, Chunk, Kind, Record, Snapshot


class CannotDump(Exception):
    """A row cannot be written out; leaving it away silently would lose it."""


async def dump(
    snapshot: Snapshot, write: Callable[[bytes], object], *, now_ms: int
) -> dict[Kind, int]:
    """Write everything, a chunk at a time; answer how many records there were of each kind.

    Raises `CannotDump` and whatever `write` raises. What was written then has no last line.
    """
    header = lines.Header(
        format=lines.FORMAT,
        schema_revision=snapshot.revision,
        holdfast_version=metadata.version("holdfast"),
        exported_at_ms=now_ms,
    )
    write(lines.encode(header))
    counts = {
        Kind.PROMISE: await _dump(snapshot.promises(payloads=True), write),
        Kind.TASK: await _dump(snapshot.tasks(), write),
        Kind.CALLBACK: await _dump(snapshot.callbacks(), write),
        Kind.LISTENER: await _dump(snapshot.listeners(), write),
        Kind.UNBLOCK: await _dump(snapshot.unblocks(), write),
        Kind.SCHEDULE: await _dump(snapshot.schedules(), write),
    }
    write(lines.encode(lines.End(counts=counts)))
    return counts


async def _dump(chunks: AsyncIterator[Chunk[Record]], write: Callable[[bytes], object]) -> int:
    count = 0
    async for chunk in chunks:
        _refuse_unreadable(chunk.flaws)
        write(b"".join(lines.encode(lines.line_of(record)) for record in chunk.records))
        count += len(chunk.records)
    return count


def _refuse_unreadable(flaws: Sequence[Violation]) -> None:
    for flaw in flaws:
        if flaw.rule == UNREADABLE:
            raise CannotDump(f"{flaw.subject!r} cannot be read ({flaw.found})")
