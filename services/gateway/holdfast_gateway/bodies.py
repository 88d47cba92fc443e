"""Request bodies: JSON and nothing else, decoded without ever answering with a stack trace."""

from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request

from holdfast_gateway.errors import Problem

T = TypeVar("T")

AnyRequest = Request[Any, Any, Any]

_JSON_TYPES: Final = ("application/json",)


async def read_json(request: AnyRequest) -> object:
    """Return the body as JSON values, `None` when there is no body.

    Raises Problem: 415 for another content type, 413 above the limit, 400 for what is not JSON.
    """
    body = await request.body()
    if not body.strip():
        return None
    kind = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES and not kind.endswith("+json"):
        shown = f"{kind!r}" if kind else "not given"
        raise Problem(
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            code="unsupported_media_type",
            detail=f"The body must be JSON with content type application/json; it is {shown}.",
            headers={"Accept": "application/json"},
        )
    try:
        return msgspec.json.decode(body)
    except msgspec.MsgspecError as error:
        raise malformed(f"The body is not JSON: {error}.") from error
    except RecursionError as error:
        raise malformed("The body is nested too deeply.") from error


def convert(value: object, kind: type[T]) -> T:
    """Turn JSON values into a typed one; raise Problem naming the field that does not fit."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise invalid(f"{error}.") from error


def malformed(detail: str) -> Problem:
    """Return the refusal of a body that is not JSON."""
    return Problem(status=HTTPStatus.BAD_REQUEST, code="malformed_json", detail=detail)


def invalid(detail: str) -> Problem:
    """Return the refusal of a body that is JSON and does not fit."""
    return Problem(status=HTTPStatus.BAD_REQUEST, code="invalid_body", detail=detail)
