"""Promises over REST: create, read, list, and settle them."""

from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, QueryParameter
from msgspec import Meta

from holdfast.core.limits import INTEGER_MAX
from holdfast_gateway.bodies import AnyRequest, convert, invalid, read_json
from holdfast_gateway.examples import CANCELED, PENDING, REJECTED, RESOLVED
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.openapi import operation, problems
from holdfast_gateway.paths import HOW_TO_NAME, IdInQuery, id_of
from holdfast_gateway.records import (
    PromiseBody,
    PromisePageBody,
    cursor_of,
    location_of,
    payload_text,
    promise_body,
)
from holdfast_gateway.routes.listing import Cursor, Limit, PromiseState, parse_limit, parse_tags

PATH: Final = "/v1/promises"
SPAN_MS_MAX: Final = 100 * 365 * 24 * 3_600_000
Milliseconds = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]

Tag = Annotated[
    list[str] | None,
    QueryParameter(
        name="tag",
        description="A tag that the promise carries, as `name=text`; several must all match.",
        required=False,
    ),
]


class NewPromise(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A promise to be; it has a day unless `timeoutMs` or `timeoutAtMs` says otherwise."""

    id: str
    data: Any = None
    tags: dict[str, str] = {}
    timeout_ms: Annotated[int, Meta(ge=0, le=SPAN_MS_MAX)] | None = None
    timeout_at_ms: Milliseconds | None = None


class Settlement(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a promise is settled with."""

    value: Any = None


@post(
    "/",
    status_code=HTTPStatus.CREATED,
    summary="Create a promise",
    description="One that exists is answered as it is, with 200: nothing is compared or changed.",
    operation_class=operation(
        NewPromise,
        examples=[
            {"id": "gate/1", "data": {"for": "you"}, "tags": {"team": "a"}, "timeoutMs": 3_600_000}
        ],
        answers={200: RESOLVED, 201: PENDING},
        has_location=True,
    ),
    responses={
        HTTPStatus.OK: ResponseSpec(
            PromiseBody, description="The promise exists already.", generate_examples=False
        ),
        **problems(400, 401, 403, 413, 415, 500, 503),
    },
)
async def create_promise(
    request: AnyRequest, gateway: NamedDependency[Gateway]
) -> Response[PromiseBody]:
    """Store the promise, then answer."""
    new = convert(await read_json(request), NewPromise)
    if new.timeout_ms is not None and new.timeout_at_ms is not None:
        raise invalid("Give timeoutMs or timeoutAtMs, not both.")
    made = await gateway.resonate.promises.create(
        new.id,
        timeout=None if new.timeout_ms is None else new.timeout_ms / 1000,
        timeout_at=new.timeout_at_ms,
        data=payload_text(new.data),
        tags=new.tags,
        raw=True,  # the client would make Python objects of what is JSON for everybody here
    )
    return Response(
        promise_body(made),
        status_code=HTTPStatus.CREATED if made.created else HTTPStatus.OK,
        headers=location_of(PATH, quoted=quote(made.id, safe="")),
    )


@get(
    "/",
    summary="List promises",
    operation_class=operation(answers={200: PromisePageBody([PENDING], cursor="Z2F0ZS8x")}),
    responses=problems(400, 401, 403, 500, 501, 503),
)
async def list_promises(
    request: AnyRequest,
    gateway: NamedDependency[Gateway],
    in_state: PromiseState = None,
    tag: Tag = None,  # noqa: ARG001 - it is in the document; read where it may come often
    limit: Limit = None,
    cursor: Cursor = None,
) -> PromisePageBody:
    """List those that match all filters, in the byte order of their ids."""
    async with gateway.in_time():
        page = await gateway.resonate.promises.search(
            state=in_state,
            tags=parse_tags(request.query_params.getall("tag", [])),
            limit=parse_limit(limit),
            cursor=cursor,
            raw=True,
        )
    found = [promise_body(promise) for promise in page.promises]
    return PromisePageBody(promises=found, cursor=cursor_of(page.cursor))


@get(
    "/{promise_id:str}",
    summary="Read a promise",
    description=HOW_TO_NAME,
    operation_class=operation(answers={200: [PENDING, RESOLVED]}),
    responses=problems(400, 401, 403, 404, 500, 503),
)
async def get_promise(
    request: AnyRequest,
    promise_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> PromiseBody:
    """Read it as it is now."""
    found = await gateway.resonate.promises.get(id_of(request, promise_id), raw=True)
    return promise_body(found)


_SETTLE: Final = (
    "One that is settled already is answered as it is: its state tells who came first, and the same"
    " request may be sent again. Without a body the value is absent. "
) + HOW_TO_NAME
_PROBLEMS: Final = problems(400, 401, 403, 404, 413, 415, 500, 503)


@post(
    "/{promise_id:str}/resolve",
    status_code=HTTPStatus.OK,
    summary="Resolve a promise",
    description=_SETTLE,
    operation_class=operation(
        Settlement, examples=[{"value": "open"}], is_required=False, answers={200: RESOLVED}
    ),
    responses=_PROBLEMS,
)
async def resolve_promise(
    request: AnyRequest,
    promise_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> PromiseBody:
    """Give it its value."""
    value = await _read_value(request)
    settled = await gateway.resonate.promises.resolve(
        id_of(request, promise_id), payload_text(value), raw=True
    )
    return promise_body(settled)


@post(
    "/{promise_id:str}/reject",
    status_code=HTTPStatus.OK,
    summary="Reject a promise",
    description=_SETTLE,
    operation_class=operation(
        Settlement, examples=[{"value": "closed"}], is_required=False, answers={200: REJECTED}
    ),
    responses=_PROBLEMS,
)
async def reject_promise(
    request: AnyRequest,
    promise_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> PromiseBody:
    """Reject it; whoever awaits it gets the value as an error."""
    value = await _read_value(request)
    settled = await gateway.resonate.promises.reject(
        id_of(request, promise_id), payload_text(value), raw=True
    )
    return promise_body(settled)


@post(
    "/{promise_id:str}/cancel",
    status_code=HTTPStatus.OK,
    summary="Cancel a promise and what is attached to it",
    description=_SETTLE,
    operation_class=operation(
        Settlement,
        examples=[{"value": "no longer needed"}],
        is_required=False,
        answers={200: CANCELED},
    ),
    responses=_PROBLEMS,
)
async def cancel_promise(
    request: AnyRequest,
    promise_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> PromiseBody:
    """Cancel it and its children, and theirs; sent again after a failure it goes on."""
    value = await _read_value(request)
    found = id_of(request, promise_id)
    await (await gateway.resonate.get(found)).cancel(value)
    return promise_body(await gateway.resonate.promises.get(found, raw=True))


def routes() -> Router:
    """Return the routes."""
    return Router(
        PATH,
        route_handlers=[
            create_promise,
            list_promises,
            get_promise,
            resolve_promise,
            reject_promise,
            cancel_promise,
        ],
        tags=["promises"],
    )


async def _read_value(request: AnyRequest) -> object:
    body = await read_json(request)
    return None if body is None else convert(body, Settlement).value
