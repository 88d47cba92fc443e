"""The id of a request: taken from `X-Request-Id` when it is sane, made up otherwise."""

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

HEADER: Final = b"x-request-id"
_SCOPE_KEY: Final = "holdfast.request_id"
_SANE: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")  # no way to forge a line of a log


def take_request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the caller's request id, or a new one."""
    for name, value in headers:
        if name == HEADER and _SANE.fullmatch(value):
            return value.decode("ascii")
    return uuid.uuid4().hex


def put_request_id(scope: Any, request_id: str) -> None:  # noqa: ANN401 - ASGI scopes are dicts of all sorts
    """Keep a request's id in its scope."""
    scope[_SCOPE_KEY] = request_id


def request_id_of(scope: Mapping[str, Any]) -> str:
    """Return the id of the request of a scope."""
    request_id: str = scope[_SCOPE_KEY]
    return request_id
