"""The asynchronous API: begin a function in a worker group by its name, poll for its end by id."""

import uuid
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from holdfast.errors import ResonateError
from holdfast_gateway import answers
from holdfast_gateway.bodies import AnyRequest, invalid, read_json
from holdfast_gateway.errors import Problem, problem_of
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.openapi import operation, problems
from holdfast_gateway.outcomes import Done, Processing, Rejected, read_outcome

WORKER: Final = "poll://any@worker"
DEFAULT: Final = {"foo": "bar"}
OTHERS: Final = ("order/", "report/", "file/", "checkout/", "cancel/", "job/", "approve/", "db/")
"""What the ids of the other applications begin with; those are not for this one to show."""

Id = Annotated[
    str | None,
    QueryParameter(name="id", description="The id of the promise.", required=False),
]


@post(
    "/begin",
    status_code=HTTPStatus.OK,
    summary="Begin",
    description="Any JSON may be sent; without an id one is made. The same id begins only once.",
    operation_class=operation(
        Any,
        examples=[{"n": 1}],
        is_required=False,
        answers=answers.BEGUN,
    ),
    responses=problems(400, 401, 403, 413, 415, 500, 503),
)
async def begin(
    request: AnyRequest,
    gateway: NamedDependency[Gateway],
    promise: Id = None,  # noqa: ARG001 - it is in the document; sent twice it counts as absent
) -> Response[dict[str, str]]:
    """Store the promise, then answer with its id."""
    try:
        data = await read_json(request)
        promise_id = _id_of(request) or str(uuid.uuid4())
        if promise_id.startswith(OTHERS):
            raise invalid(f"The id must not begin with any of {', '.join(OTHERS)}.")
        data = DEFAULT if data is None or data == {} else data
        await gateway.begin(promise_id, "foo", data, target=WORKER)
    except (Problem, ResonateError) as error:
        problem = problem_of(error)
        problem.members = {"error": f"failed_to_begin: {problem.detail}"}
        raise problem from error
    wait = f"{gateway.settings.prefix_of('async')}/wait?id={quote(promise_id)}"
    return Response({"promise": promise_id, "status": "pending", "wait": wait})


@get(
    "/wait",
    summary="Tell whether it has ended",
    operation_class=operation(answers=answers.WAITED),
    responses=problems(400, 401, 403, 404, 500, 503),
)
async def wait(
    request: AnyRequest,
    gateway: NamedDependency[Gateway],
    promise: Id = None,  # noqa: ARG001 - as above
) -> Response[dict[str, Any]]:
    """Read the promise; never wait, whatever the name says."""
    promise_id = _id_of(request)
    if promise_id is None:
        return _refusal("id query parameter is required", HTTPStatus.BAD_REQUEST)
    outcome = None
    if not promise_id.startswith(OTHERS):
        outcome = await read_outcome(gateway.resonate, promise_id)
    found = {"promise_id": promise_id}
    match outcome:
        case None:
            return _refusal(f"{promise_id} not found", HTTPStatus.NOT_FOUND)
        case Processing():
            return Response({"status": "pending", **found, "message": "Processing in progress"})
        case Done(result):
            return Response({"status": "resolved", **found, "result": result})
        case Rejected(error):
            return Response({"status": "rejected", **found, "error": error})


def routes(prefix: str) -> Router:
    """Return the routes below the application's mount point."""
    return Router(prefix or "/", route_handlers=[begin, wait], tags=["async"])


def _id_of(request: AnyRequest) -> str | None:
    ids = request.query_params.getall("id", [])
    return ids[0] if len(ids) == 1 and ids[0] else None


def _refusal(error: str, status: HTTPStatus) -> Response[dict[str, Any]]:
    return Response({"error": error}, status_code=status)
