"""The port of the Resonate bridge, which is not part of this version and says so.

The port is open so that an official client that is pointed at it gets an explanation instead of a
refused connection, and so that nothing else is put there in the meantime.
"""

import json
from http import HTTPStatus
from typing import Any

from holdfast_gateway.errors import PROBLEM_JSON, problem_body
from holdfast_gateway.request_id import take_request_id


async def bridge(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - plain ASGI
    """Answer `/health` with 200 and every other request with 501."""
    del receive
    assert scope["type"] == "http", "served without lifespan and websockets"
    if scope["path"] == "/health":
        await _answer(send, HTTPStatus.OK, "application/json", {"status": "alive"})
        return
    body = problem_body(
        status=HTTPStatus.NOT_IMPLEMENTED,
        code="not_supported",
        detail=(
            "The Resonate bridge is not part of this version;"
            " connect with the library of Holdfast over grpc:// instead."
        ),
        request_id=take_request_id(scope["headers"]),
        members={},
    )
    await _answer(send, HTTPStatus.NOT_IMPLEMENTED, PROBLEM_JSON, body)


async def _answer(send: Any, status: HTTPStatus, kind: str, body: dict[str, Any]) -> None:  # noqa: ANN401
    content = json.dumps(body).encode()
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": content})
