"""The root of a run: what its promise asks for, and the attempts at it."""

from dataclasses import dataclass

from holdfast import tracing
from holdfast.codec import Codec
from holdfast.core.records import Promise, Value
from holdfast.errors import DecodeError
from holdfast.frame import Frame
from holdfast.retry import WORKFLOW_DEFAULT, RetryPolicy, from_wire, is_retryable
from holdfast.runtime.execution import Execution
from holdfast.runtime.functions import drive, enter_of
from holdfast.runtime.steps import check_stop, encode_outcome, is_bad_call, run_root_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function call as a param says it."""

    func: str
    version: int
    args: tuple[object, ...]
    kwargs: dict[str, object]
    retry: RetryPolicy | None
    param: Value


def read_call(codec: Codec, promise: Promise) -> Call:
    """Read the param of a task's promise; raise `DecodeError` naming what is wrong with it."""
    param = codec.decode(promise.param.data)
    if not isinstance(param, dict):
        raise DecodeError("the param must be an object with `func` and `args`")
    func = param.get("func")
    args = param.get("args", [])
    kwargs = param.get("kwargs") or {}
    version = param.get("version", 1)
    if not isinstance(func, str) or not func:
        raise DecodeError("`func` in the param must be the name of a function")
    if not isinstance(args, list):
        raise DecodeError("`args` in the param must be an array")
    if not isinstance(kwargs, dict):
        raise DecodeError("`kwargs` in the param must be an object")
    if isinstance(version, bool) or not isinstance(version, int):
        raise DecodeError("`version` in the param must be an integer")
    retry = param.get("retry")
    return Call(
        func=func,
        version=version,
        args=tuple(args),
        kwargs=kwargs,
        retry=None if retry is None else from_wire(retry),
        param=promise.param,
    )


async def run_root(run: Execution, call: Call) -> None:
    """Run a task's function to its end."""
    tracing.enter(call.param)
    policy = call.retry or run.function.retry_policy
    run.args, run.kwargs = call.args, call.kwargs
    arguments = run.function.arguments
    if arguments is not None:
        try:
            run.args, run.kwargs = arguments.convert(call.args, call.kwargs)
        except DecodeError as unfit:
            run.fulfill(*encode_outcome(run.codec, None, unfit))
            return
    kind = run.function.kind
    if not kind.is_workflow:
        await run_root_step(run, policy, enter_of(kind))
        return
    value, error = await _attempts(run, policy or WORKFLOW_DEFAULT)
    run.fulfill(*encode_outcome(run.codec, value, error))


async def _attempts(run: Execution, policy: RetryPolicy) -> tuple[object, Exception | None]:
    """Run the workflow; as a whole again only if its call or registration asks for it."""
    attempt = 1
    while True:
        frame = Frame(
            run,
            run.function,
            run.lineage,
            deadline_ms=run.deadline_ms,
            tags=run.tags,
            attempt=attempt,
            takes_commands=True,
        )
        value, error = await drive(run, frame, run.args, run.kwargs)
        if error is None or not is_retryable(error, ()):
            return value, error
        if is_bad_call(error, run.function, run.args, run.kwargs):
            return value, error
        delay = policy.next_delay(attempt)
        if delay is None or run.worker.clock.now_ms() + delay * 1000 >= run.deadline_ms:
            return value, error
        run.worker.log.warning(
            "workflow_failed",
            promise_id=run.id,
            attempt=attempt,
            retry_in_ms=int(delay * 1000),
            error=f"{type(error).__name__}: {error}",
        )
        # What this attempt recorded is what the next one replays.
        await run.writer.durable(run.writer.queued)
        check_stop(run)
        await run.worker.clock.sleep(delay)
        check_stop(run)
        attempt += 1
