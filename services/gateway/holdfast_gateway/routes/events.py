"""The events of a workflow: what happens to it and to its children, as it happens."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, HeaderParameter

from holdfast import PromiseNotFound
from holdfast_gateway.bodies import AnyRequest
from holdfast_gateway.errors import Problem
from holdfast_gateway.events import (
    MEDIA_TYPE,
    ChildBody,
    Position,
    child_event,
    settled_event,
    workflow_event,
)
from holdfast_gateway.examples import CALL, CREATED_AT_MS
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.openapi import operation, problems
from holdfast_gateway.paths import IdInQuery, id_from_path, id_of
from holdfast_gateway.records import promise_body
from holdfast_gateway.routes.workflows import PATH, function_of
from holdfast_gateway.streaming import EventStream, Streaming

RETRY_SECONDS: Final = "5"
_CHILD: Final = ChildBody("foo/1.0", "resolved", CREATED_AT_MS, CREATED_AT_MS + 500)
_EVENTS: Final = (workflow_event(CALL), child_event(_CHILD), settled_event(CALL))
_EXAMPLE: Final = b"".join(event.text for event in _EVENTS).decode()

LastEventId = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID",
        description="The id of the last event that was read: what came before is left out.",
        required=False,
    ),
]


@get(
    "/{name:str}/{workflow_id:str}/events",
    media_type=MEDIA_TYPE,
    summary="Follow a workflow",
    description="Server-sent events: `workflow` first, `child` when a child is found and when it is"
    " settled, `more` when there are more children than are told of, and `settled` at the end."
    " Events of the last seconds before `Last-Event-ID` are sent again, with the same ids.",
    operation_class=operation(answers={200: _EXAMPLE}),
    responses={
        HTTPStatus.NO_CONTENT: ResponseSpec(
            None, description="`Last-Event-ID` is that of the end: do not connect again."
        ),
        **problems(400, 401, 403, 404, 500, 503),
    },
)
async def workflow_events(
    request: AnyRequest,
    name: FromPath[str],
    workflow_id: FromPath[str],
    gateway: NamedDependency[Gateway],
    last_event_id: LastEventId = None,
    id_in_query: IdInQuery = None,  # noqa: ARG001 - it is in the document
) -> Response[Any]:
    """Read the promise, then send its events until the end."""
    found = id_of(request, workflow_id)
    promise = await gateway.resonate.promises.get(found, raw=True)
    if function_of(promise_body(promise)) != id_from_path(name):
        raise PromiseNotFound(f"there is no workflow {found} of that function")
    after = None if last_event_id is None else Position.parse(last_event_id)
    if after is not None and after.is_end_of(found):
        return Response(None, status_code=HTTPStatus.NO_CONTENT)
    if not gateway.watches.has_room:
        raise Problem(
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            code="too_many_clients",
            detail="As many clients as may follow events do so already; try again later.",
            headers={"Retry-After": RETRY_SECONDS},
        )
    settings = gateway.settings
    streaming = Streaming(
        keep_alive_seconds=settings.events_keep_alive_seconds,
        send_seconds=settings.events_send_seconds,
    )
    return EventStream(gateway.watches, gateway.resonate, found, after=after, streaming=streaming)


def routes() -> Router:
    """Return the route."""
    return Router(PATH, route_handlers=[workflow_events], tags=["workflows"])
