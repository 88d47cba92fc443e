"""A stored state out of the messages that carry it."""

from msgspec.structs import replace

from holdfast.core.stored import StoredState
from holdfast.rpc.answers import promise_of, schedule_of, task_of
from holdfast.v1 import admin_pb2 as pb


def stored_state_of(message: pb.AdminDebugSnapResponse) -> StoredState:
    """Read a stored state; the message holds all parts."""
    promises = {each.id: promise_of(each) for each in message.promises}
    woken_by: dict[str, set[str]] = {}
    for resume in message.resumes:
        woken_by.setdefault(resume.task_id, set()).add(resume.awaited)
    tasks = {
        each.id: replace(
            task_of(each, promises.get(each.id)), resumes=frozenset(woken_by.get(each.id, ()))
        )
        for each in message.tasks
    }
    return StoredState(
        promises=promises,
        tasks=tasks,
        callbacks=frozenset((each.awaited, each.awaiter) for each in message.callbacks),
        listeners=frozenset((each.id, each.address) for each in message.listeners),
        promise_timeouts={each.id: each.at_ms for each in message.promise_timeouts},
        task_retries={each.id: each.at_ms for each in message.task_retries},
        task_leases={each.id: each.at_ms for each in message.task_leases},
        executes=frozenset(
            (each.address, each.id, each.version)
            for each in message.messages
            if each.HasField("version")
        ),
        unblocks=frozenset(
            (each.address, each.id) for each in message.messages if not each.HasField("version")
        ),
        schedules={each.id: schedule_of(each) for each in message.schedules},
        schedule_timeouts={each.id: each.at_ms for each in message.schedule_timeouts},
    )
