"""What is checked at the door, before any row is read (§2.8, §3.5)."""

from collections.abc import Mapping

from holdfast.core import limits
from holdfast.core.cron import flaw_of_cron, flaw_of_time_zone
from holdfast.core.ids import bytes_of, composite_origin, flaw_of_text, is_absolute_uri
from holdfast.core.profile import EmptyHeartbeat, LineageTags, OriginCheck, Profile
from holdfast.core.records import (
    BRANCH,
    DELAY,
    ORIGIN,
    PARENT,
    PREFIX,
    SETTABLE,
    TARGET,
    TIMER,
    PromiseState,
    Value,
)
from holdfast.core.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
    Request,
    ScheduleCreate,
    ScheduleRequest,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
)
from holdfast.core.schedule import SERVER_TAGS, occurrence_id


class _Flawed(Exception):
    """Ends a validation at the first flaw; never leaves this module."""

    def __init__(self, code: str, message: str) -> None:
        self.refusal = Refusal(status=400, code=code, message=message)


def validate(request: Request, profile: Profile) -> Refusal | None:
    """Answer the first flaw of a request, or `None`; the message names field and limit."""
    try:
        _check(request, profile)
    except _Flawed as flaw:
        return flaw.refusal
    return None


def flaw_of_create(create: PromiseCreate, profile: Profile) -> Refusal | None:
    """Name the flaw of a create beyond its shape; a fence answers it as inner (§14)."""
    try:
        _check_create_rules(create, profile)
    except _Flawed as flaw:
        return flaw.refusal
    return None


def flaw_of_state(state: PromiseState) -> Refusal | None:
    """Name the flaw of a settlement's state; a fence answers it as inner (§14)."""
    try:
        _check_state(state)
    except _Flawed as flaw:
        return flaw.refusal
    return None


def _check(request: Request, profile: Profile) -> None:  # noqa: C901, PLR0912 - one arm each
    match request:  # what is asked for most comes first: each arm that does not match costs
        case TaskFence():
            _check_fence(request, profile)
        case TaskFulfill():
            _check_lease(request.id, request.version)
            _check_settle_shape(request.action, profile, prefix="action.")
            if request.action.id != request.id:
                raise _Flawed("id_mismatch", "action.id must equal id: a task settles its promise")
            _check_state(request.action.state, "action.state")
        case TaskSuspend():
            _check_suspend(request, profile)
        case PromiseCreate():
            _check_create_shape(request, profile)
            _check_create_rules(request, profile)
        case PromiseRegisterListener():
            _check_text(request.awaited, "awaited")
            _check_address(request.address, "address")
        case TaskAcquire():
            _check_text(request.id, "id")
            _check_integer(request.version, "version")
            _check_text(request.pid, "pid")
            _check_integer(request.ttl_ms, "ttl_ms", least=1)
        case TaskCreate():
            _check_task_create(request, profile)
        case TaskHeartbeat():
            _check_heartbeat(request, profile)
        case PromiseGet() | TaskGet() | TaskContinue():
            _check_text(request.id, "id")
        case PromiseSettle():
            _check_settle_shape(request, profile)
            _check_state(request.state)
        case PromiseRegisterCallback():
            _check_callback(request, profile)
        case TaskRelease():
            _check_lease(request.id, request.version)
            if request.not_before_ms is not None:
                _check_integer(request.not_before_ms, "not_before_ms")
        case TaskHalt():
            _check_text(request.id, "id")
            if request.version is not None:
                _check_integer(request.version, "version")
            if request.reason:
                _check_reason(request.reason)
        case ScheduleCreate():
            _check_schedule_shape(request, profile)
            _check_schedule_rules(request)
        case ScheduleRequest():
            _check_text(request.id, "id")


def _check_text(text: str, field: str) -> None:
    flaw = flaw_of_text(text, field=field)
    if flaw is not None:
        raise _Flawed("invalid_text", flaw)


def _check_integer(number: int, field: str, *, least: int = 0) -> None:
    if not least <= number <= limits.INTEGER_MAX:
        raise _Flawed(
            "out_of_range", f"{field} must be from {least} to {limits.INTEGER_MAX}, it is {number}"
        )


def _check_lease(task_id: str, version: int) -> None:
    _check_text(task_id, "id")
    _check_integer(version, "version")


def _check_address(text: str, field: str) -> None:
    _check_text(text, field)
    if not is_absolute_uri(text):
        raise _Flawed(
            "invalid_address",
            f"{field} must be an absolute URI with a scheme, such as poll://any@workers",
        )


def _check_value(value: Value, field: str, profile: Profile) -> None:
    size = len(value.data or b"")
    if value.headers:
        try:
            size += bytes_of("".join((*value.headers, *value.headers.values())))
        except UnicodeEncodeError:
            message = f"{field}.headers must be valid Unicode: one contains a lone surrogate"
            raise _Flawed("invalid_text", message) from None
    if size > profile.value_bytes_max:
        raise _Flawed(
            "value_too_large",
            f"{field} must have at most {profile.value_bytes_max} bytes, it has {size}; "
            "store large data elsewhere and pass a reference",
        )


def _check_create_shape(create: PromiseCreate, profile: Profile, prefix: str = "") -> None:
    _check_text(create.id, f"{prefix}id")
    _check_integer(create.timeout_at_ms, f"{prefix}timeout_at_ms")
    _check_value(create.param, f"{prefix}param", profile)
    _check_tags(create.tags, f"{prefix}tags")


def _check_tags(tags: Mapping[str, str], field: str) -> None:
    if len(tags) > limits.TAGS_MAX:
        raise _Flawed(
            "too_many_tags", f"{field} must be at most {limits.TAGS_MAX}, they are {len(tags)}"
        )
    joined = "".join((*tags, *tags.values()))
    try:
        size = bytes_of(joined)
    except UnicodeEncodeError:
        message = f"{field} must be valid Unicode: one contains a lone surrogate"
        raise _Flawed("invalid_text", message) from None
    if "\0" in joined:
        raise _Flawed("invalid_text", f"{field} must not contain NUL")
    if size > limits.TAGS_BYTES_MAX:
        raise _Flawed(
            "tags_too_large",
            f"{field} must have at most {limits.TAGS_BYTES_MAX} bytes, they have {size}",
        )


def _check_create_rules(create: PromiseCreate, profile: Profile) -> None:
    tags = create.tags
    target = tags.get(TARGET)
    if target is not None:
        _check_target(target, tags)
    delay = tags.get(DELAY)
    if delay is not None:
        _check_delay(delay, create, has_target=target is not None)
    if profile.lineage_tags is LineageTags.STRICT:
        _check_lineage(create.id, tags)


def _check_target(target: str, tags: Mapping[str, str]) -> None:
    _check_address(target, f"tag {TARGET}")
    if tags.get(TIMER) == "true":
        raise _Flawed("timer_with_target", f"tags {TIMER} and {TARGET} exclude each other")


def _check_delay(delay: str, create: PromiseCreate, *, has_target: bool) -> None:
    # The length comes first: Python refuses to read an integer of thousands of digits.
    is_number = len(delay) <= len(str(limits.INTEGER_MAX)) and delay.isascii() and delay.isdigit()
    if not is_number or int(delay) > limits.INTEGER_MAX:
        raise _Flawed("invalid_delay", f"tag {DELAY} must be an instant in decimal milliseconds")
    if not has_target:
        raise _Flawed("invalid_delay", f"tag {DELAY} requires the tag {TARGET}")
    if int(delay) >= create.timeout_at_ms:
        raise _Flawed("invalid_delay", f"tag {DELAY} must lie before timeout_at_ms")


def _check_lineage(promise_id: str, tags: Mapping[str, str]) -> None:
    if "." in tags.get(ORIGIN, ""):
        raise _Flawed("invalid_lineage", f"tag {ORIGIN} must not contain a dot")
    if "." in tags.get(PREFIX, ""):
        raise _Flawed("invalid_lineage", f"tag {PREFIX} must not contain a dot")
    for name in (ORIGIN, BRANCH, PARENT):
        ancestor = tags.get(name)
        if ancestor is not None and not f"{promise_id}.".startswith(f"{ancestor}."):
            raise _Flawed("invalid_lineage", f"id must equal or extend the tag {name}")


def _check_settle_shape(settle: PromiseSettle, profile: Profile, prefix: str = "") -> None:
    _check_text(settle.id, f"{prefix}id")
    _check_value(settle.value, f"{prefix}value", profile)


def _check_state(state: PromiseState, field: str = "state") -> None:
    if state not in SETTABLE:
        raise _Flawed(
            "invalid_state",
            f"{field} must be resolved, rejected or rejected_canceled, it is {state.value}",
        )


def _check_callback(request: PromiseRegisterCallback, profile: Profile) -> None:
    _check_text(request.awaited, "awaited")
    _check_text(request.awaiter, "awaiter")
    if request.awaited == request.awaiter:
        raise _Flawed("awaits_itself", "awaited must differ from awaiter")
    _check_origin(request.awaited, request.awaiter, profile)


def _check_origin(awaited: str, awaiter: str, profile: Profile) -> None:
    if profile.origin_check is OriginCheck.OFF:
        return
    if composite_origin(awaited) != composite_origin(awaiter):
        raise _Flawed("cross_origin", "awaited and awaiter must belong to the same tree")


def _check_task_create(request: TaskCreate, profile: Profile) -> None:
    _check_text(request.pid, "pid")
    _check_integer(request.ttl_ms, "ttl_ms", least=1)
    _check_create_shape(request.action, profile, prefix="action.")
    if TARGET not in request.action.tags:
        raise _Flawed("target_required", f"action.tags must hold {TARGET}: it makes the task")
    if DELAY in request.action.tags:
        raise _Flawed("invalid_delay", f"action.tags must not hold {DELAY}: the task is taken now")
    _check_create_rules(request.action, profile)


def _check_suspend(request: TaskSuspend, profile: Profile) -> None:
    _check_lease(request.id, request.version)
    if not request.actions:
        raise _Flawed("empty_suspend", "actions must name at least one promise")
    if len(request.actions) > limits.AWAITED_MAX:
        raise _Flawed(
            "too_many_awaited", f"actions must be at most {limits.AWAITED_MAX} per suspend"
        )
    seen: set[str] = set()
    for action in request.actions:
        _check_text(action.awaited, "actions.awaited")
        if action.awaited == request.id:
            raise _Flawed("awaits_itself", "actions.awaited must differ from id")
        if action.awaiter != request.id:
            raise _Flawed("awaiter_mismatch", "actions.awaiter must equal id")
        if action.awaited in seen:
            raise _Flawed("duplicate_awaited", f"actions name {action.awaited} more than once")
        seen.add(action.awaited)
        _check_origin(action.awaited, request.id, profile)


def _check_fence(request: TaskFence, profile: Profile) -> None:
    _check_lease(request.id, request.version)
    match request.action:
        case PromiseRecord():
            _check_create_shape(request.action.create, profile, prefix="action.")
            _check_value(request.action.value, "action.value", profile)
        case PromiseCreate():
            _check_create_shape(request.action, profile, prefix="action.")
        case PromiseSettle():
            _check_settle_shape(request.action, profile, prefix="action.")
    if request.action.id == request.id:
        raise _Flawed("fences_itself", "action.id must differ from id: use fulfill")


def _check_reason(reason: str) -> None:
    if len(reason.encode(errors="replace")) > limits.REASON_BYTES_MAX:
        raise _Flawed(
            "reason_too_long", f"reason must have at most {limits.REASON_BYTES_MAX} bytes"
        )
    _check_text(reason, "reason")


def _check_heartbeat(request: TaskHeartbeat, profile: Profile) -> None:
    _check_text(request.pid, "pid")
    if not request.tasks and profile.empty_heartbeat is EmptyHeartbeat.REJECT:
        raise _Flawed("empty_heartbeat", "tasks must name at least one lease")
    for ref in request.tasks:
        _check_text(ref.id, "tasks.id")
        _check_integer(ref.version, "tasks.version")


# Schedules


def _check_schedule_shape(request: ScheduleCreate, profile: Profile) -> None:
    _check_text(request.id, "id")
    _check_text(request.promise_id, "promise_id")
    _check_integer(request.promise_timeout_ms, "promise_timeout_ms")
    _check_value(request.promise_param, "promise_param", profile)
    _check_tags(request.promise_tags, "promise_tags")
    longest = occurrence_id(
        template=request.promise_id, schedule_id=request.id, at_ms=limits.INTEGER_MAX
    )
    _check_text(longest, "promise_id, filled in,")
    # Each occurrence must be a promise that somebody might have created.
    _check_tags(
        {**request.promise_tags, **dict.fromkeys(SERVER_TAGS, longest)},
        f"promise_tags with the {len(SERVER_TAGS)} that the store adds",
    )


def _check_schedule_rules(request: ScheduleCreate) -> None:
    flaw = flaw_of_cron(request.cron)
    if flaw is not None:
        raise _Flawed("invalid_cron", f"cron {flaw}")
    flaw = flaw_of_time_zone(request.time_zone)
    if flaw is not None:
        raise _Flawed("invalid_time_zone", f"time_zone {flaw}")
    tags = request.promise_tags
    target = tags.get(TARGET)
    if target is None:
        raise _Flawed(
            "target_required", f"promise_tags must hold {TARGET}: it says who runs what is created"
        )
    _check_target(target, tags)
    if DELAY in tags:
        raise _Flawed(
            "invalid_delay", f"promise_tags must not hold {DELAY}: the schedule says when"
        )
