"""Webhooks: the outside world settles a promise that a workflow waits for."""

import time
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from litestar import Router, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from holdfast.errors import PromiseNotFound
from holdfast_gateway.bodies import AnyRequest, convert, read_json
from holdfast_gateway.examples import JOB_ID
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.openapi import operation, problems
from holdfast_gateway.outcomes import is_settled_from_outside
from holdfast_gateway.paths import id_from_path
from holdfast_gateway.signatures import check_signature

APPROVAL: Final = "approval"
APPROVALS: Final = "approve/"
"""Approvals settle promises below this name only."""

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
    responses=problems(400, 401, 404, 413, 415, 500, 503),
)
async def settle(
    service: FromPath[str], request: AnyRequest, gateway: NamedDependency[Gateway]
) -> None:
    """Resolve the promise that the body names."""
    if secret := gateway.settings.webhook_secret:
        window = gateway.settings.webhook_window_seconds
        await check_signature(request, secret, window_seconds=window, now=time.time())
    value = await read_json(request)
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
