"""Request bodies: JSON, and forms where pages send them; none is answered with a stack trace."""

from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException

from holdfast_gateway.errors import Problem, problem_of

T = TypeVar("T")

AnyRequest = Request[Any, Any, Any]

_JSON_TYPES: Final = ("application/json",)
_FORM_TYPES: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


async def read_json(request: AnyRequest) -> object:
    """Return the body as JSON values, `None` when there is no body.

    Raises Problem: 415 for another content type, 413 above the limit, 400 for what is not JSON.
    """
    try:
        body = await request.body()
    except HTTPException as error:  # it is too large
        raise problem_of(error) from error
    if not body.strip():
        return None
    kind = _content_type(request)
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


async def read_fields(request: AnyRequest) -> object:
    """Return the fields of a form, or the body as JSON values; no body has no fields."""
    if _content_type(request) in _FORM_TYPES:
        form = (await request.form()).dict()
        # A field that was sent twice stays a list, which fits where one value is asked for nowhere.
        return {name: sent[0] if len(sent) == 1 else sent for name, sent in form.items()}
    body = await read_json(request)
    return {} if body is None else body


def _content_type(request: AnyRequest) -> str:
    return (request.headers.get("content-type") or "").partition(";")[0].strip().lower()


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
