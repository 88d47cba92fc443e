"""Workflows over REST: start one by the name of its function, and tell how it is getting on."""

import uuid
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, HeaderParameter
from msgspec import Meta

from holdfast import PromiseNotFound
from holdfast.errors import ServerUnavailable
from holdfast_gateway.bodies import AnyRequest, convert, invalid, read_json
from holdfast_gateway.errors import Problem
from holdfast_gateway.examples import CALL
from holdfast_gateway.gateway import WORKERS, Gateway
from holdfast_gateway.openapi import operation, problems
from holdfast_gateway.paths import IdInQuery, id_from_path, id_of, names_a_step
from holdfast_gateway.records import PromiseBody, promise_body
from holdfast_gateway.routes.jobs import KEY
from holdfast_gateway.routes.promises import SPAN_MS_MAX
from holdfast_gateway.routes.waiting import Wait, parse_wait

PATH: Final = "/v1/workflows"
KEYS: Final = uuid.UUID("0a1f6d52-7c0e-4f7e-9b57-6f1f2c8f0d3e")
"""The namespace of ids made from idempotency keys; another value would forget every key in use."""
NAME_CHARACTERS_MAX: Final = 256

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="In place of an id: the same key starts the same function once; with other"
        " arguments it is refused.",
        required=False,
    ),
]


class NewWorkflow(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A call to be: its id, arguments, the group or address that runs it, its time and delay."""

    id: Annotated[str, Meta(min_length=1)] | None = None
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    target: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    timeout_ms: Annotated[int, Meta(ge=1, le=SPAN_MS_MAX)] | None = None
    delay_ms: Annotated[int, Meta(ge=0, le=SPAN_MS_MAX)] | None = None


class StartedBody(msgspec.Struct, rename="camel"):
    """A workflow whose promise is stored; `created` tells whether this request did it."""

    id: str
    created: bool


@post(
    "/{name:str}",
    status_code=HTTPStatus.ACCEPTED,
    summary="Start a workflow",
    description="It is stored when this answers, and runs once: the same id or key again is the"
    " same workflow. Without either each request starts another one. With `?wait=` the answer is"
    " 200 and the promise if the workflow ends in time, and else 202 as without it.",
    operation_class=operation(
        NewWorkflow,
        examples=[{"id": "foo/1", "args": [{"n": 1}], "target": "workers"}],
        is_required=False,
        answers={200: CALL, 202: StartedBody("foo/1", created=True)},
        has_location=True,
    ),
    responses={
        HTTPStatus.OK: ResponseSpec(
            PromiseBody, description="The workflow has ended.", generate_examples=False
        ),
        **problems(400, 401, 403, 409, 413, 415, 500, 503),
    },
)
async def start_workflow(
    request: AnyRequest,
    name: FromPath[str],
    gateway: NamedDependency[Gateway],
    idempotency_key: IdempotencyKey = None,
    wait: Wait = None,
) -> Response[StartedBody]:
    """Store the promise, then answer."""
    seconds = parse_wait(wait, gateway.settings.wait_seconds_max)
    function = _checked_name(name)
    body = await read_json(request)
    new = NewWorkflow() if body is None else convert(body, NewWorkflow)
    workflow_id = _id_for(function, new.id, idempotency_key)
    options = gateway.resonate.options(
        target=address_of(new.target),
        timeout=None if new.timeout_ms is None else new.timeout_ms / 1000,
        delay=None if new.delay_ms is None else new.delay_ms / 1000,
        on_conflict="raise",
    )
    handle = await gateway.resonate.begin_rpc(
        workflow_id, function, *new.args, options, **new.kwargs
    )
    headers = {"Location": f"{PATH}/{quote(function, safe='')}/{quote(workflow_id, safe='')}"}
    ended = await _ended(gateway, workflow_id, seconds) if seconds else None
    if ended is not None:
        return Response(ended, headers=headers, status_code=HTTPStatus.OK)  # type: ignore[arg-type]
    started = StartedBody(id=workflow_id, created=handle.created)
    return Response(started, headers=headers, status_code=HTTPStatus.ACCEPTED)


@get(
    "/{name:str}/{workflow_id:str}",
    summary="Tell how a workflow is getting on",
    description="Its promise, `pending` until it ends. The id is percent-encoded; one with a slash"
    " may also be given as `-` and `?id=`. An id that belongs to another function is not found.",
    operation_class=operation(answers={200: CALL}),
    responses=problems(400, 401, 403, 404, 500, 503),
)
async def workflow_status(
    request: AnyRequest,
    name: FromPath[str],
    workflow_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    wait: Wait = None,
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> PromiseBody:
    """Read it; wait for its end as long as the caller asks, within the limit."""
    seconds = parse_wait(wait, gateway.settings.wait_seconds_max)
    found = id_of(request, workflow_id)
    promise = await gateway.resonate.promises.get(found, raw=True)
    body = promise_body(promise)
    if function_of(body) != id_from_path(name):
        raise PromiseNotFound(f"there is no workflow {found} of that function")
    if promise.is_pending and seconds:
        await gateway.waits.until_settled(gateway.resonate, found, seconds)
        body = promise_body(await gateway.resonate.promises.get(found, raw=True))
    return body


def routes() -> Router:
    """Return the routes."""
    return Router(PATH, route_handlers=[start_workflow, workflow_status], tags=["workflows"])


async def _ended(gateway: Gateway, workflow_id: str, seconds: float) -> PromiseBody | None:
    """Wait for the end; a store that goes away meanwhile does not undo what was started."""
    try:
        await gateway.waits.until_settled(gateway.resonate, workflow_id, seconds)
        promise = await gateway.resonate.promises.get(workflow_id, raw=True)
    except ServerUnavailable:
        return None
    return None if promise.is_pending else promise_body(promise)


def _checked_name(encoded: str) -> str:
    name = id_from_path(encoded)
    if len(name) <= NAME_CHARACTERS_MAX and "\0" not in name and "%" not in name:
        return name
    raise Problem(
        status=HTTPStatus.BAD_REQUEST,
        code="invalid_name",
        detail=f"The name of a function has at most {NAME_CHARACTERS_MAX} characters, valid UTF-8"
        " without NUL and without a percent sign.",
    )


def _id_for(function: str, workflow_id: str | None, key: str | None) -> str:
    """Take the id, or derive it from the key; different functions may use the same key."""
    if workflow_id is not None:
        if key is not None:
            raise invalid("Give an id or an Idempotency-Key, not both.")
        if names_a_step(workflow_id):
            raise invalid("The id must not end in a dot and a number: steps are named like that.")
        return workflow_id
    if key is None:
        return str(uuid.uuid4())
    if not KEY.fullmatch(key):
        raise Problem(
            status=HTTPStatus.BAD_REQUEST,
            code="invalid_idempotency_key",
            detail="Idempotency-Key must be 1 to 255 visible ASCII characters.",
        )
    return str(uuid.uuid5(KEYS, f"{function}/{key}"))


def address_of(target: str | None) -> str:
    """Return the address of a worker group; one that is an address already stays as it is."""
    if target is None:
        return WORKERS
    return target if ":" in target else f"poll://any@{quote(target, safe='')}"


def function_of(body: PromiseBody) -> str | None:
    """Return the name of the function that a promise calls, if it calls one."""
    stored = body.param.data
    function = stored.get("func") if isinstance(stored, dict) else None
    return function if isinstance(function, str) else None
