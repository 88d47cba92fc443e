"""Records as lines of JSON, one each: the format of an exported file.

The first line says what the file is, the last one how many records of each kind came before it, so
that a file that was cut off is noticed. Between them stand the records as the store means them,
not as a database keeps them: what only serves an index is computed anew when they are read in.
Instants and spans are milliseconds, payloads are base64, and what is absent has its default.
"""

import re
from typing import Annotated, Any, Final

import msgspec

from holdfast.core.ids import flaw_of_text
from holdfast.core.limits import INTEGER_MAX
from holdfast.core.records import (
    EMPTY,
    Callback,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
    Unblock,
    Value,
    WaitMode,
)
from holdfast_store.archives.port import Kind, Listener, Record

FORMAT: Final = 1

Number = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
Texts = dict[str, str]


class _Line(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """A line whose `kind` says what else it holds."""


class Header(_Line, frozen=True, kw_only=True, tag="export"):
    """The first line."""

    format: int
    schema_revision: str
    holdfast_version: str
    exported_at_ms: Number


class End(_Line, frozen=True, kw_only=True, tag="end"):
    """The last line."""

    counts: dict[Kind, Number]


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A payload: bytes, and headers. Absent differs from empty."""

    data: bytes | None = None
    headers: Texts | None = None


class PromiseLine(_Line, frozen=True, kw_only=True, tag=Kind.PROMISE.value, omit_defaults=True):
    """A promise."""

    id: str
    state: PromiseState
    param: Payload | None = None
    value: Payload | None = None
    tags: Texts = {}
    timeout_at_ms: Number
    created_at_ms: Number
    settled_at_ms: Number | None = None
    armed: bool = False


class TaskLine(_Line, frozen=True, kw_only=True, tag=Kind.TASK.value, omit_defaults=True):
    """A task with its resumes."""

    id: str
    state: TaskState
    version: Number
    target: str
    resumes: tuple[str, ...] = ()
    ttl_ms: Number | None = None
    pid: str | None = None
    lease_at_ms: Number | None = None
    dispatch_at_ms: Number | None = None
    queued_at_ms: Number | None = None
    paced_until_ms: Number = 0
    instance: str | None = None
    seat: str | None = None
    wait_mode: WaitMode = WaitMode.ANY
    waiting_on: Number = 0
    unknown_releases: Number = 0
    deliveries: Number = 0
    reason: str | None = None


class CallbackLine(_Line, frozen=True, kw_only=True, tag=Kind.CALLBACK.value, omit_defaults=True):
    """An obligation to a task."""

    awaited: str
    awaiter: str
    wait_version: Number | None = None


class ListenerLine(_Line, frozen=True, kw_only=True, tag=Kind.LISTENER.value):
    """An obligation to an address."""

    promise_id: str
    address: str


class UnblockLine(_Line, frozen=True, kw_only=True, tag=Kind.UNBLOCK.value):
    """A message that waits for its address."""

    promise_id: str
    address: str
    enqueued_at_ms: Number


class ScheduleLine(_Line, frozen=True, kw_only=True, tag=Kind.SCHEDULE.value, omit_defaults=True):
    """A schedule."""

    id: str
    cron: str
    promise_id: str
    promise_timeout_ms: Number
    promise_param: Payload | None = None
    promise_tags: Texts = {}
    created_at_ms: Number
    next_run_at_ms: Number
    last_run_at_ms: Number | None = None
    paused: bool = False
    time_zone: str


RecordLine = PromiseLine | TaskLine | CallbackLine | ListenerLine | UnblockLine | ScheduleLine
Line = Header | RecordLine | End


class BadLine(Exception):
    """A line cannot be read; `field` names the place in it, or is empty."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def kind_of(line: RecordLine) -> Kind:
    """Name what a line holds."""
    return Kind(str(line.__struct_config__.tag))


# Out

_encode = msgspec.json.Encoder().encode


def encode(line: Line) -> bytes:
    """Write a line, its end included."""
    return _encode(line) + b"\n"


def line_of(record: Record) -> RecordLine:
    """Say a record as a line."""
    match record:
        case Promise():
            return PromiseLine(
                id=record.id,
                state=record.state,
                param=_payload_of(record.param),
                value=_payload_of(record.value),
                tags=dict(record.tags),
                timeout_at_ms=record.timeout_at_ms,
                created_at_ms=record.created_at_ms,
                settled_at_ms=record.settled_at_ms,
                armed=record.armed,
            )
        case Task():
            fields = {name: getattr(record, name) for name in TaskLine.__struct_fields__}
            return TaskLine(**fields | {"resumes": tuple(sorted(record.resumes))})
        case Callback():
            return CallbackLine(
                awaited=record.awaited, awaiter=record.awaiter, wait_version=record.wait_version
            )
        case Listener():
            return ListenerLine(promise_id=record.promise_id, address=record.address)
        case Unblock():
            return UnblockLine(
                promise_id=record.promise_id,
                address=record.address,
                enqueued_at_ms=record.enqueued_at_ms,
            )
        case Schedule():
            fields = {name: getattr(record, name) for name in ScheduleLine.__struct_fields__}
            return ScheduleLine(
                **fields
                | {
                    "promise_param": _payload_of(record.promise_param),
                    "promise_tags": dict(record.promise_tags),
                }
            )


def _payload_of(value: Value) -> Payload | None:
    if value == EMPTY:
        return None
    headers = None if value.headers is None else dict(value.headers)
    return Payload(data=value.data, headers=headers)


# In

_decoder = msgspec.json.Decoder(Line)


def decode(text: bytes) -> Line:
    """Read a line; raise `BadLine`."""
    try:
        line: Line = _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _bad_line(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadLine(f"it is no JSON: {error}") from error
    return line


def record_of(line: RecordLine) -> Record:
    """Answer the record that a line says; raise `BadLine` for an id that no record can have."""
    _check_ids(line)
    match line:
        case PromiseLine():
            return Promise(
                id=line.id,
                state=line.state,
                param=_value_of(line.param),
                value=_value_of(line.value),
                tags=line.tags,
                timeout_at_ms=line.timeout_at_ms,
                created_at_ms=line.created_at_ms,
                settled_at_ms=line.settled_at_ms,
                armed=line.armed,
            )
        case TaskLine():
            return Task(**_fields_of(line) | {"resumes": frozenset(line.resumes)})
        case CallbackLine():
            return Callback(**_fields_of(line))
        case ListenerLine():
            return Listener(**_fields_of(line))
        case UnblockLine():
            return Unblock(**_fields_of(line))
        case ScheduleLine():
            return Schedule(**_fields_of(line) | {"promise_param": _value_of(line.promise_param)})


def _fields_of(line: RecordLine) -> dict[str, Any]:
    return {name: getattr(line, name) for name in line.__struct_fields__}


def _value_of(payload: Payload | None) -> Value:
    return EMPTY if payload is None else Value(data=payload.data, headers=payload.headers)


_IDS: Final = ("id", "target", "pid", "instance", "seat", "awaited", "awaiter", "address")
"""Fields of any line whose text is an id, a pid or an address."""


def _check_ids(line: RecordLine) -> None:
    named = [(field, getattr(line, field, None)) for field in _IDS]
    if isinstance(line, TaskLine):
        named += [("resumes", awaited) for awaited in line.resumes]
    elif isinstance(line, ListenerLine | UnblockLine):
        named.append(("promise_id", line.promise_id))
    for field, text in named:
        flaw = None if text is None else flaw_of_text(text, field=field)
        if flaw is not None:
            raise BadLine(flaw, field=field)


def _bad_line(message: str) -> BadLine:
    """Take the place out of a sentence such as "Expected `int`, got `str` - at `$.ttl_ms`"."""
    sentence, _, place = message.rpartition(" - at ")
    sentence = sentence or place
    field = (re.findall(r"`\$\.?([^`]*)`", place) or [""])[0]
    missing = re.search(r"field `(\w+)`", sentence)
    if missing is not None:
        field = f"{field}.{missing[1]}" if field else missing[1]
    return BadLine(sentence, field=field)
