"""Children of a run: which id, which record, and whether the record fits the call.

A child that the records know is adopted and its call compared with what was recorded; any other
is described by a create request that is queued here for remote ones, and by whoever runs it for
local ones.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from holdfast.codec import Codec
from holdfast.commands import DetachedCall, DurableFuture, Latent, LocalCall, RemoteCall, Sleep
from holdfast.core.records import (
    DELAY,
    FUNC_HEADER,
    SCOPE,
    TARGET,
    TIMER,
    Promise,
    Value,
)
from holdfast.core.requests import PromiseCreate
from holdfast.errors import DecodeError, NonDeterminism
from holdfast.lineage import (
    DETACHED_HEADER,
    Lineage,
    prefixed,
    remote_tags,
    target_address,
    timer_tags,
)
from holdfast.options import Options, span_ms
from holdfast.registry import Function
from holdfast.retry import RetryPolicy
from holdfast.tracing import traced

if TYPE_CHECKING:
    from holdfast.frame import Frame
    from holdfast.runtime.execution import Execution

FRESH_ID_CHARS_MAX = 200
"""A longer id might be refused by the store: such a step is announced before it runs."""

EMPTY_DATA = Value(data=b"")


def local(run: "Execution", frame: "Frame", command: LocalCall[Any, Any]) -> DurableFuture[Any]:
    """Make the child of `ctx.run` or `ctx.begin_run`; its create is queued by whoever runs it."""
    options = command.options_
    child_id = _id_of(run, frame, command.seq, options)
    record = run.cache.get(child_id)
    child = _new(run, child_id, record, options, function=command.function, local=True)
    if child.lineage is None:
        explicit = options.id is not None
        child.lineage = (
            frame.lineage.child(child_id, explicit=explicit, local=True)
            if record is None
            else Lineage.of(record)
        )
    if record is None and child.create is None:
        child.create = PromiseCreate(
            id=child_id,
            timeout_at_ms=_deadline(run, frame, options),
            param=command.function.local_param(run.codec),
            tags=child.lineage.tags(options.tags, local=True),
        )
    elif record is not None and options.id is None:
        if record.param.data != command.function.local_param(run.codec).data:
            _compare(run, record, kind="run", function=command.function, pinned=options.version)
        elif _kind_of(record) != "run":
            _compare(run, record, kind="run", function=command.function, pinned=None)
    return child


def remote(
    run: "Execution", frame: "Frame", command: RemoteCall[Any, Any] | DetachedCall[Any, Any]
) -> DurableFuture[Any]:
    """Make the child of `ctx.rpc`, `ctx.begin_rpc` or `ctx.detached`."""
    options = command.options_
    detached = isinstance(command, DetachedCall)
    child_id = _id_of(run, frame, command.seq, options)
    if detached and options.id is None:
        child_id = frame.lineage.detached_id(child_id)
    record = run.cache.get(child_id)
    child = _new(run, child_id, record, options, function=command.function, local=False)
    child.attached = not detached
    if record is not None:
        if options.id is None:
            _compare(run, record, kind="rpc", function=command.function, pinned=options.version)
        return child
    if child.create is not None:
        return child
    now_ms = run.worker.clock.now_ms()
    timeout_at_ms = now_ms + options.timeout_ms
    if not detached:
        timeout_at_ms = min(timeout_at_ms, frame.deadline_ms)
    lineage = frame.lineage.child(
        child_id, explicit=options.id is not None or detached, local=False
    )
    tags = remote_tags(
        lineage.tags(options.tags), target_address(options.target or run.worker.default_target)
    )
    if options.delay is not None:
        tags[DELAY] = str(now_ms + span_ms(options.delay, field="delay"))
    param = traced(
        call_param(run.codec, command.function, command.args, command.kwargs, options.retry_policy)
    )
    if detached:
        param = replace(param, headers={**(param.headers or {}), DETACHED_HEADER: "true"})
    return _announce(run, child, timeout_at_ms=timeout_at_ms, param=param, tags=tags)


def timer(run: "Execution", frame: "Frame", command: Sleep) -> DurableFuture[Any]:
    """Make the child of `ctx.sleep`; one that exists keeps the instant it was made with."""
    child_id = _id_of(run, frame, command.seq, command.options_)
    record = run.cache.get(child_id)
    child = _new(run, child_id, record, command.options_, local=False)
    if record is not None:
        _compare(run, record, kind="sleep", function=None, pinned=None)
        return child
    wake_at_ms = command.until_ms
    if wake_at_ms is None:
        assert command.span_ms is not None
        wake_at_ms = run.worker.clock.now_ms() + command.span_ms
    lineage = frame.lineage.child(child_id, explicit=False, local=False)
    return _announce(
        run,
        child,
        timeout_at_ms=max(0, min(wake_at_ms, frame.deadline_ms)),
        param=EMPTY_DATA,
        tags=timer_tags(lineage.tags()),
    )


def latent(run: "Execution", frame: "Frame", command: Latent) -> DurableFuture[Any]:
    """Make the child of `ctx.promise`."""
    options = command.options_
    child_id = _id_of(run, frame, command.seq, options)
    record = run.cache.get(child_id)
    child = _new(run, child_id, record, options, local=False)
    if record is not None:
        if options.id is None:
            _compare(run, record, kind="promise", function=None, pinned=None)
        return child
    if child.create is not None:
        return child
    lineage = frame.lineage.child(child_id, explicit=options.id is not None, local=False)
    return _announce(
        run,
        child,
        timeout_at_ms=_deadline(run, frame, options),
        param=traced(Value(data=run.codec.encode(command.data))),
        tags=lineage.tags(options.tags),
    )


def deadline_of(run: "Execution", child: DurableFuture[Any]) -> int:
    """When a child times out."""
    return run.rejoin(child).timeout_at_ms


def call_param(
    codec: Codec,
    function: Function,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    retry_policy: RetryPolicy | None,
) -> Value:
    """Write what a worker needs to run a function; raise `EncodeError` if JSON cannot say it."""
    body: dict[str, object] = {"func": function.name, "args": args, "version": function.version}
    if kwargs:
        body["kwargs"] = kwargs
    if retry_policy is not None:
        body["retry"] = retry_policy.to_wire()
    return Value(data=codec.encode(body), headers={FUNC_HEADER: function.header})


def _id_of(run: "Execution", frame: "Frame", seq: int, options: Options) -> str:
    if options.id is not None:
        return prefixed(run.worker.prefix, options.id)
    return f"{frame.lineage.id}.{seq}"


def _deadline(run: "Execution", frame: "Frame", options: Options) -> int:
    return min(run.worker.clock.now_ms() + options.timeout_ms, frame.deadline_ms)


def _new(
    run: "Execution",
    child_id: str,
    record: Promise | None,
    options: Options,
    *,
    function: Function | None = None,
    local: bool,
) -> DurableFuture[Any]:
    explicit = options.id is not None
    if explicit:
        known = run.explicit.get(child_id)
        if known is not None:
            return known
    child: DurableFuture[Any] = DurableFuture(run, child_id, local=local)
    child.function = function
    if explicit:
        run.explicit[child_id] = child
    if record is not None:
        run.learn_of(child, record)
        if child.state is None:
            run.is_replaying = False
    else:
        run.is_replaying = False
        child.fresh = (
            run.complete
            and not explicit
            and not options.tags
            and len(child_id) <= FRESH_ID_CHARS_MAX
        )
    return child


def _announce(
    run: "Execution",
    child: DurableFuture[Any],
    *,
    timeout_at_ms: int,
    param: Value,
    tags: dict[str, str],
) -> DurableFuture[Any]:
    child.create = PromiseCreate(id=child.id, timeout_at_ms=timeout_at_ms, param=param, tags=tags)
    run.queue_create(child)
    return child


# Replay checks


def _compare(
    run: "Execution", record: Promise, *, kind: str, function: Function | None, pinned: int | None
) -> None:
    """Raise `NonDeterminism` if a record was made by another call than the one replayed.

    Versions are compared only where the call names one: a step may have moved on since.
    """
    recorded_kind = _kind_of(record)
    name, version = _recorded_function(run, record)
    fits = recorded_kind == kind
    if function is not None and name is not None:
        fits = fits and name == function.name
        fits = fits and (pinned is None or version is None or version == pinned)
    if not fits:
        asked = None if function is None else function.name
        raise NonDeterminism(
            f"{record.id} was recorded as {_call(recorded_kind, name)}, "
            f"now the workflow asks for {_call(kind, asked)}: "
            "branches may depend only on arguments and recorded values"
        )


def _call(kind: str, name: str | None) -> str:
    return f"ctx.{kind}({name or ''})"


def _kind_of(record: Promise) -> str:
    tags = record.tags
    if tags.get(TIMER) == "true":
        return "sleep"
    if TARGET in tags:
        return "rpc"
    return "run" if tags.get(SCOPE) == "local" else "promise"


def _recorded_function(run: "Execution", record: Promise) -> tuple[str | None, int | None]:
    try:
        param = run.codec.decode(record.param.data)
    except DecodeError:
        return None, None  # another SDK's business; nothing to compare
    if not isinstance(param, dict) or _kind_of(record) == "promise":
        return None, None
    name, version = param.get("func"), param.get("version")
    return (
        name if isinstance(name, str) else None,
        version if isinstance(version, int) else None,
    )
