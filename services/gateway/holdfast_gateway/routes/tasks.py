"""Tasks over REST: read and list them, stop one, let it go on."""

from http import HTTPStatus
from typing import Final

import msgspec
from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from holdfast_gateway.bodies import AnyRequest, convert, read_json
from holdfast_gateway.examples import TASK
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.openapi import operation, problems
from holdfast_gateway.paths import IdInQuery, id_of
from holdfast_gateway.records import TaskBody, TaskPageBody, cursor_of, task_body
from holdfast_gateway.routes.listing import Cursor, Limit, TaskState, parse_limit

_READ: Final = (
    "The id is that of its promise, percent-encoded; one with a slash may also be given as `-` and"
    " `?id=`."
)


class Halt(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Why a task is stopped, for whoever looks later."""

    reason: str | None = None


@get(
    "/",
    summary="List tasks",
    operation_class=operation(answers={200: TaskPageBody([TASK], cursor="Zm9vLzE")}),
    responses=problems(400, 401, 403, 500, 501, 503),
)
async def list_tasks(
    gateway: NamedDependency[Gateway],
    in_state: TaskState = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> TaskPageBody:
    """List those in a state, or all, in the byte order of their ids."""
    async with gateway.in_time():
        page = await gateway.resonate.tasks.search(
            state=in_state, limit=parse_limit(limit), cursor=cursor
        )
    found = [task_body(task) for task in page.tasks]
    return TaskPageBody(tasks=found, cursor=cursor_of(page.cursor))


@get(
    "/{task_id:str}",
    summary="Read a task",
    description=_READ,
    operation_class=operation(answers={200: TASK}),
    responses=problems(400, 401, 403, 404, 500, 503),
)
async def get_task(
    request: AnyRequest,
    task_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> TaskBody:
    """Read it as it is now."""
    return task_body(await gateway.resonate.tasks.get(id_of(request, task_id)))


@post(
    "/{task_id:str}/halt",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Halt a task",
    description="It is given to nobody until it is continued; to halt it again does nothing. "
    + _READ,
    operation_class=operation(
        Halt, examples=[{"reason": "It waits for a correction."}], is_required=False
    ),
    responses=problems(400, 401, 403, 404, 409, 413, 415, 500, 503),
)
async def halt_task(
    request: AnyRequest,
    task_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> None:
    """Stop it; whoever runs it now stops at its next write."""
    body = await read_json(request)
    reason = None if body is None else convert(body, Halt).reason
    await gateway.resonate.tasks.halt(id_of(request, task_id), reason)


@post(
    "/{task_id:str}/continue",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Continue a halted task",
    description=_READ,
    operation_class=operation(),
    responses=problems(400, 401, 403, 404, 409, 500, 503),
)
async def continue_task(
    request: AnyRequest,
    task_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> None:
    """Let it go on; one that is not halted is left as it is, with 409."""
    await gateway.resonate.tasks.continue_(id_of(request, task_id))


def routes() -> Router:
    """Return the routes."""
    return Router(
        "/v1/tasks", route_handlers=[list_tasks, get_task, halt_task, continue_task], tags=["tasks"]
    )
