"""`?wait=`: how many seconds an answer may be held back for the end of a workflow."""

import math
from http import HTTPStatus
from typing import Annotated

from litestar.openapi.spec import OpenAPIType
from litestar.params import QueryParameter

from holdfast_gateway.errors import Problem

Wait = Annotated[
    str | None,
    QueryParameter(
        name="wait",
        description="Seconds to wait for the end; the answer comes earlier when it ends earlier.",
        required=False,
        schema_extra={"type": OpenAPIType.NUMBER, "minimum": 0},
    ),
]


def parse_wait(text: str | None, seconds_max: float) -> float:
    """Read a number of seconds; raise Problem naming what it may be."""
    if text is None:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if 0 <= seconds <= seconds_max:  # false for a NaN
        return seconds
    raise Problem(
        status=HTTPStatus.BAD_REQUEST,
        code="invalid_wait",
        detail=f"wait must be a number of seconds from 0 to {seconds_max:g}.",
    )
