"""Webhooks: the outside world settles a promise that a workflow waits for."""

import time
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from litestar import Router, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter
from msgspec import Meta

from holdfast.errors import PromiseNotFound
from holdfast_gateway.bodies import AnyRequest, convert, read_json
from holdfast_gateway.examples import JOB_ID
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.openapi import operation, problems
from holdfast_gateway.outcomes import is_settled_from_outside
from holdfast_gateway.paths import id_from_path
from holdfast_gateway.signatures import ID, SIGNATURE, TIMESTAMP, check_signature

APPROVAL: Final = "approval"
APPROVALS: Final = "approve/"
"""Approvals settle promises below this name only."""

WebhookId = Annotated[
    str | None,
    HeaderParameter(
        name=ID,
        description="Where webhooks must be signed: the name of this event, the same each time"
        " that it is sent.",
        required=False,
    ),
]
WebhookTimestamp = Annotated[
    str | None,
    HeaderParameter(
        name=TIMESTAMP,
        description="Where webhooks must be signed: the seconds since the epoch when this is sent.",
        required=False,
    ),
]
WebhookSignature = Annotated[
    str | None,
    HeaderParameter(
        name=SIGNATURE,
        description="Where webhooks must be signed: `v1,` and the base64 of the HMAC-SHA256 of"
        " `<id>.<timestamp>.<body>`; several with spaces between, of which one must fit.",
        required=False,
    ),
]
PromiseId = Annotated[str, Meta(min_length=1, max_length=1024)]


class Approval(msgspec.Struct, rename="camel"):
    """A person's answer, for the service `approval`."""

    promise_id: PromiseId
    approved: bool


class Notice(msgspec.Struct, rename="camel"):
    """What any other service has to say; `data` is any JSON."""

    promise_id: PromiseId
    data: Any


@post(
    "/webhooks/{service:str}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Settle a promise that a workflow waits for",
    description="The first answer counts; later ones are answered alike and change nothing.",
    operation_class=operation(
        Approval,
        Notice,
        examples=[
            {"promiseId": f"approve/{JOB_ID}", "approved": True},
            {"promiseId": "gate/1", "data": {"any": "JSON"}},
        ],
    ),
    responses=problems(400, 401, 403, 404, 413, 415, 500, 503),
)
async def settle(
    service: FromPath[str],
    request: AnyRequest,
    gateway: NamedDependency[Gateway],
    webhook_id: WebhookId = None,  # noqa: ARG001 - these are in the document
    webhook_timestamp: WebhookTimestamp = None,  # noqa: ARG001
    webhook_signature: WebhookSignature = None,  # noqa: ARG001
) -> None:
    """Resolve the promise that the body names, unless this very webhook came before."""
    if not (secrets := gateway.settings.webhook_secrets):
        await _settle(service, await read_json(request), gateway)
        return
    now, window = time.time(), gateway.settings.webhook_window_seconds
    found = await check_signature(request, secrets, window_seconds=window, now=now)
    if not gateway.deliveries.has(found, now=now):
        await _settle(service, await read_json(request), gateway)
        gateway.deliveries.add(found, now=now)


async def _settle(service: str, value: object, gateway: Gateway) -> None:
    if id_from_path(service) == APPROVAL:
        approval = convert(value, Approval)
        promise_id, data = approval.promise_id, approval.approved
        may_settle = promise_id.startswith(APPROVALS)
    else:
        notice = convert(value, Notice)
        promise_id, data, may_settle = notice.promise_id, notice.data, True
    # Steps and workflows are promises too; whoever may call a webhook must not end those.
    promise = await gateway.resonate.promises.get(promise_id) if may_settle else None
    if promise is None or not is_settled_from_outside(promise):
        raise PromiseNotFound(f"no promise {promise_id!r} waits for this webhook")
    await gateway.resonate.promises.resolve(promise_id, data)


def routes(prefix: str) -> Router:
    """Return the routes below the application's mount point."""
    return Router(prefix or "/", route_handlers=[settle], tags=["webhooks"])
