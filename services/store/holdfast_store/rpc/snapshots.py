"""Everything that is stored, as messages: a whole store does not fit into one (§6.4)."""

from collections.abc import AsyncIterator
from typing import Final

from holdfast.core import stored
from holdfast.core.records import Callback, Promise, Schedule, Task, Unblock
from holdfast.v1 import admin_pb2 as pb
from holdfast_store.archives.port import Chunk, Listener, Record, Records
from holdfast_store.rpc.answers import write_promise, write_schedule, write_task

PART_BYTES: Final = 1_048_576
"""A part ends behind the record that passes this. The largest record fits into a message beside
so many bytes, and a message is 4 MiB."""

SMALL_BYTES: Final = 2_400
"""What a record without payloads comes to at most: two ids or addresses, and some numbers."""


async def parts_of(records: Records) -> AsyncIterator[pb.AdminDebugSnapResponse]:
    """Write all records; a store without any has one part of nothing."""
    part = pb.AdminDebugSnapResponse()
    size = 0
    async for record in _everything(records):
        _write(part, record)
        size += _bytes_of(part, record)
        if size > PART_BYTES:
            yield part
            part, size = pb.AdminDebugSnapResponse(), 0
    yield part


async def _everything(records: Records) -> AsyncIterator[Record]:
    kinds: tuple[AsyncIterator[Chunk[Record]], ...] = (
        records.promises(payloads=True),
        records.tasks(),
        records.callbacks(),
        records.listeners(),
        records.unblocks(),
        records.schedules(),
    )
    for chunks in kinds:
        async for chunk in chunks:
            for record in chunk.records:
                yield record


def _bytes_of(part: pb.AdminDebugSnapResponse, record: Record) -> int:
    """Say by how much a record has made a part larger, without measuring the whole part again."""
    match record:
        case Promise():
            return part.promises[-1].ByteSize() + SMALL_BYTES
        case Task():
            resumes = sum(len(awaited) for awaited in record.resumes)
            return SMALL_BYTES + resumes + len(record.resumes) * SMALL_BYTES
        case Schedule():
            return part.schedules[-1].ByteSize() + SMALL_BYTES
        case _:
            return SMALL_BYTES


def _write(part: pb.AdminDebugSnapResponse, record: Record) -> None:
    match record:
        case Promise():
            write_promise(part.promises.add(), record)
            if stored.is_armed(record):
                part.promise_timeouts.add(id=record.id, at_ms=record.timeout_at_ms)
        case Task():
            _write_task(part, record)
        case Callback():
            part.callbacks.add(awaited=record.awaited, awaiter=record.awaiter)
        case Listener():
            part.listeners.add(id=record.promise_id, address=record.address)
        case Unblock():
            part.messages.add(address=record.address, id=record.promise_id)
        case Schedule():
            write_schedule(part.schedules.add(), record)
            if record.due_at_ms is not None:
                part.schedule_timeouts.add(id=record.id, at_ms=record.due_at_ms)


def _write_task(part: pb.AdminDebugSnapResponse, task: Task) -> None:
    write_task(part.tasks.add(), task)
    for awaited in sorted(task.resumes):
        part.resumes.add(task_id=task.id, awaited=awaited)
    retry_at_ms = stored.retry_at_ms(task)
    if retry_at_ms is not None:
        part.task_retries.add(id=task.id, at_ms=retry_at_ms)
    lease_at_ms = stored.lease_at_ms(task)
    if lease_at_ms is not None:
        part.task_leases.add(id=task.id, at_ms=lease_at_ms)
    if stored.has_execute(task):
        part.messages.add(address=task.target, id=task.id, version=task.version)
