"""Schedules over REST: what starts a function, or creates a promise, by the clock."""

from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, QueryParameter
from msgspec import Meta

from holdfast import DurableSchedule
from holdfast.core.limits import INTEGER_MAX, SCHEDULE_SEARCH_LIMIT_DEFAULT
from holdfast_gateway.bodies import AnyRequest, convert, invalid, read_json
from holdfast_gateway.examples import SCHEDULE
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.openapi import operation, problems
from holdfast_gateway.paths import HOW_TO_NAME, IdInQuery, id_of
from holdfast_gateway.records import (
    ScheduleBody,
    SchedulePageBody,
    cursor_of,
    location_of,
    payload_text,
    schedule_body,
)
from holdfast_gateway.routes.listing import Cursor, ScheduleLimit, parse_limit, parse_tags
from holdfast_gateway.routes.workflows import address_of

PATH: Final = "/v1/schedules"
UTC: Final = "UTC"
_DAY_MS: Final = 24 * 3_600_000

Tag = Annotated[
    list[str] | None,
    QueryParameter(
        name="tag",
        description="A tag that its promises carry, as `name=text`; several must all match.",
        required=False,
    ),
]


class NewSchedule(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A schedule to be: when, and the function that it calls or the data of its promises."""

    id: str
    cron: str
    time_zone: str = UTC
    func: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    data: Any = None
    target: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    promise_id: Annotated[str, Meta(min_length=1)] | None = None
    timeout_ms: Annotated[int, Meta(ge=0, le=INTEGER_MAX)] = _DAY_MS
    tags: dict[str, str] = {}
    paused: bool = False


class TriggeredBody(msgspec.Struct):
    """A promise that is stored, by its id."""

    id: str


@post(
    "/",
    status_code=HTTPStatus.CREATED,
    summary="Create a schedule",
    description="Five fields, or six with seconds first, read in `timeZone`. With `func` each run"
    " calls that function, else its promise has `data`. One that exists is answered as it is, with"
    " 200: nothing is compared or changed.",
    operation_class=operation(
        NewSchedule,
        examples=[
            {
                "id": "nightly-report",
                "cron": "0 3 * * *",
                "timeZone": "Europe/Berlin",
                "func": "report_for",
                "args": ["north"],
                "target": "workers",
            }
        ],
        answers={200: SCHEDULE, 201: SCHEDULE},
        has_location=True,
    ),
    responses={
        HTTPStatus.OK: ResponseSpec(
            ScheduleBody, description="The schedule exists already.", generate_examples=False
        ),
        **problems(400, 401, 403, 413, 415, 500, 503),
    },
)
async def create_schedule(
    request: AnyRequest, gateway: NamedDependency[Gateway]
) -> Response[ScheduleBody]:
    """Store the schedule, then answer."""
    new = convert(await read_json(request), NewSchedule)
    if new.func is not None and new.data is not None:
        raise invalid("Give func or data, not both: a call has its arguments as data.")
    if new.func is None and (new.args or new.kwargs):
        raise invalid("args and kwargs are for a func.")
    made = await _made(gateway, new)
    return Response(
        schedule_body(made),
        status_code=HTTPStatus.CREATED if made.created else HTTPStatus.OK,
        headers=location_of(PATH, quoted=quote(made.id, safe="")),
    )


async def _made(gateway: Gateway, new: NewSchedule) -> DurableSchedule:
    schedules = gateway.resonate.schedules
    timeout_s = new.timeout_ms / 1000
    time_zone = new.time_zone or UTC
    if new.func is None:
        return await schedules.create(
            new.id,
            new.cron,
            new.promise_id,
            timeout=timeout_s,
            target=address_of(new.target),
            data=payload_text(new.data),
            tags=new.tags,
            tz=time_zone,
            paused=new.paused,
            raw=True,
        )
    options = gateway.resonate.options(
        target=address_of(new.target), timeout=timeout_s, tags=new.tags
    )
    schedule = await schedules.of_function(
        new.id,
        new.cron,
        new.func,
        tuple(new.args),
        new.kwargs,
        options,
        tz=time_zone,
        promise_id=new.promise_id,
        paused=new.paused,
        raw=True,
    )
    return schedule.record


@get(
    "/",
    summary="List schedules",
    operation_class=operation(answers={200: SchedulePageBody([SCHEDULE], cursor="nightly-report")}),
    responses=problems(400, 401, 403, 500, 501, 503),
)
async def list_schedules(
    request: AnyRequest,
    gateway: NamedDependency[Gateway],
    tag: Tag = None,  # noqa: ARG001 - it is in the document; read where it may come often
    limit: ScheduleLimit = None,
    cursor: Cursor = None,
) -> SchedulePageBody:
    """List those whose promises carry all tags, in the byte order of their ids."""
    async with gateway.in_time():
        page = await gateway.resonate.schedules.search(
            tags=parse_tags(request.query_params.getall("tag", [])),
            limit=parse_limit(limit, default=SCHEDULE_SEARCH_LIMIT_DEFAULT),
            cursor=cursor,
            raw=True,
        )
    found = [schedule_body(schedule) for schedule in page.schedules]
    return SchedulePageBody(schedules=found, cursor=cursor_of(page.cursor))


@get(
    "/{schedule_id:str}",
    summary="Read a schedule",
    description=HOW_TO_NAME,
    operation_class=operation(answers={200: SCHEDULE}),
    responses=problems(400, 401, 403, 404, 500, 503),
)
async def get_schedule(
    request: AnyRequest,
    schedule_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> ScheduleBody:
    """Read it as it is now."""
    found = await gateway.resonate.schedules.get(id_of(request, schedule_id), raw=True)
    return schedule_body(found)


@delete(
    "/{schedule_id:str}",
    summary="Delete a schedule",
    description="What it has started goes on. " + HOW_TO_NAME,
    operation_class=operation(),
    responses=problems(400, 401, 403, 404, 500, 503),
)
async def delete_schedule(
    request: AnyRequest,
    schedule_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> None:
    """Let it start nothing any more."""
    await gateway.resonate.schedules.delete(id_of(request, schedule_id))


@post(
    "/{schedule_id:str}/pause",
    status_code=HTTPStatus.OK,
    summary="Pause a schedule",
    description="It starts nothing until it is resumed; to pause it again does nothing. "
    + HOW_TO_NAME,
    operation_class=operation(answers={200: msgspec.structs.replace(SCHEDULE, paused=True)}),
    responses=problems(400, 401, 403, 404, 500, 503),
)
async def pause_schedule(
    request: AnyRequest,
    schedule_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> ScheduleBody:
    """Stop it for a while."""
    paused = await gateway.resonate.schedules.pause(id_of(request, schedule_id), raw=True)
    return schedule_body(paused)


@post(
    "/{schedule_id:str}/resume",
    status_code=HTTPStatus.OK,
    summary="Resume a schedule",
    description="It goes on with its next run from now; those of the pause are not made up for. "
    + HOW_TO_NAME,
    operation_class=operation(answers={200: SCHEDULE}),
    responses=problems(400, 401, 403, 404, 422, 500, 503),
)
async def resume_schedule(
    request: AnyRequest,
    schedule_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> ScheduleBody:
    """Let it go on."""
    resumed = await gateway.resonate.schedules.resume(id_of(request, schedule_id), raw=True)
    return schedule_body(resumed)


@post(
    "/{schedule_id:str}/trigger",
    status_code=HTTPStatus.ACCEPTED,
    summary="Run a schedule now",
    description="Beside its planned runs, paused or not. " + HOW_TO_NAME,
    operation_class=operation(answers={202: TriggeredBody("nightly-report.1790000000000")}),
    responses=problems(400, 401, 403, 404, 500, 503),
)
async def trigger_schedule(
    request: AnyRequest,
    schedule_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> TriggeredBody:
    """Store the promise of a run, then answer."""
    run = await gateway.resonate.schedules.trigger(id_of(request, schedule_id))
    return TriggeredBody(run.id)


def routes() -> Router:
    """Return the routes."""
    return Router(
        PATH,
        route_handlers=[
            create_schedule,
            list_schedules,
            get_schedule,
            delete_schedule,
            pause_schedule,
            resume_schedule,
            trigger_schedule,
        ],
        tags=["schedules"],
    )
