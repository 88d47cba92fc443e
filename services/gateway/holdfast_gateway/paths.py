"""Ids in paths: percent-encoded when they arrive, data and never paths afterwards."""

import re
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import unquote

from litestar import Request
from litestar.params import QueryParameter

from holdfast_gateway.errors import Problem

AnyRequest = Request[Any, Any, Any]

STEP_SUFFIX: Final = re.compile(r"\.([0-9]+|d[0-9a-f]{16})")
"""How the ids of steps end; a workflow of that name would be taken for a step of another one."""
KEY_CHARACTERS_MAX: Final = 256
IN_QUERY: Final = "-"
"""What stands in a path for an id that is given as `?id=`."""
HOW_TO_NAME: Final = (
    "The id is percent-encoded; one with a slash may also be given as `-` and `?id=`."
)
"""What the document says of a route with an id in its path."""

IdInQuery = Annotated[
    str | None,
    QueryParameter(name="id", description="The id, where the path says `-`.", required=False),
]
"""In the document of such a route; `id_of` reads it."""


def id_from_path(encoded: str) -> str:
    """Decode an id once; what is no UTF-8 is no id: it stays encoded, to be found nowhere."""
    try:
        return unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        return encoded


def id_of(request: AnyRequest, segment: str) -> str:
    """Return the id that a request names: by a segment of its path, or as `-` and `?id=`.

    Some proxies decode `%2F` in paths, or refuse it; in a query it stays what it is.
    """
    ids = request.query_params.getall("id", [])
    if segment != IN_QUERY or not ids:
        return id_from_path(segment)
    if len(ids) > 1:
        raise Problem(
            status=HTTPStatus.BAD_REQUEST, code="invalid_id", detail="id must be given once."
        )
    return str(ids[0])


def names_a_step(workflow_id: str) -> bool:
    """Tell whether an id could be that of a step."""
    _, dot, last = workflow_id.rpartition(".")
    return STEP_SUFFIX.fullmatch(dot + last) is not None


def flaw_of_key(key: str) -> str | None:
    """Say why a client's key cannot name a workflow, or answer `None`."""
    if not 1 <= len(key) <= KEY_CHARACTERS_MAX:
        return f"must have 1 to {KEY_CHARACTERS_MAX} characters"
    if "\0" in key or key in {".", ".."}:
        return "must not contain NUL and must not be a relative path"
    if names_a_step(key):
        return "must not end in a dot and a number: steps are named like that"
    return None
