"""What listings have in common: filters that are read by hand, because each flaw has its answer."""

from http import HTTPStatus
from typing import Annotated, Final, get_args

from litestar.openapi.spec import OpenAPIType
from litestar.params import QueryParameter

from holdfast.core.limits import (
    SCHEDULE_SEARCH_LIMIT_DEFAULT,
    SEARCH_LIMIT_DEFAULT,
    SEARCH_LIMIT_MAX,
)
from holdfast_gateway.errors import Problem
from holdfast_gateway.records import PromiseStateName, TaskStateName

Limit = Annotated[
    str | None,
    QueryParameter(
        name="limit",
        description=f"Records on the page, 1 to {SEARCH_LIMIT_MAX}; {SEARCH_LIMIT_DEFAULT} unless"
        " given. Fewer come where their payloads are large.",
        required=False,
        schema_extra={
            "type": OpenAPIType.INTEGER,
            "minimum": 1,
            "maximum": SEARCH_LIMIT_MAX,
            "default": SEARCH_LIMIT_DEFAULT,
        },
    ),
]
ScheduleLimit = Annotated[
    str | None,
    QueryParameter(
        name="limit",
        description=f"Records on the page, 1 to {SEARCH_LIMIT_MAX};"
        f" {SCHEDULE_SEARCH_LIMIT_DEFAULT} unless given. Fewer come where their payloads are"
        " large.",
        required=False,
        schema_extra={
            "type": OpenAPIType.INTEGER,
            "minimum": 1,
            "maximum": SEARCH_LIMIT_MAX,
            "default": SCHEDULE_SEARCH_LIMIT_DEFAULT,
        },
    ),
]
Cursor = Annotated[
    str | None,
    QueryParameter(
        name="cursor", description="The cursor of the page before; absent at first.", required=False
    ),
]
PromiseState = Annotated[
    str | None,
    QueryParameter(
        name="state",
        description="The state as it reads now.",
        required=False,
        schema_extra={"enum": get_args(PromiseStateName)},
    ),
]
TaskState = Annotated[
    str | None,
    QueryParameter(
        name="state",
        description="The state as it reads now.",
        required=False,
        schema_extra={"enum": get_args(TaskStateName)},
    ),
]
_DIGITS_MAX: Final = 9


def parse_limit(text: str | None, *, default: int = SEARCH_LIMIT_DEFAULT) -> int:
    """Read a limit; raise Problem naming what it may be."""
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
        limit = int(text)
        if 1 <= limit <= SEARCH_LIMIT_MAX:
            return limit
    raise Problem(
        status=HTTPStatus.BAD_REQUEST,
        code="out_of_range",
        detail=f"limit must be a whole number from 1 to {SEARCH_LIMIT_MAX}.",
    )


def parse_tags(pairs: list[str]) -> dict[str, str]:
    """Read tags that were given as `?tag=name=text`; raise Problem for what is no pair."""
    tags: dict[str, str] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or name in tags:
            raise Problem(
                status=HTTPStatus.BAD_REQUEST,
                code="invalid_tag",
                detail="tag must be a name, an equals sign and a text; each name at most once.",
            )
        tags[name] = text
    return tags
