"""States as callers write them."""

from enum import StrEnum
from typing import TypeVar

from holdfast.errors import InvalidRequest

StateT = TypeVar("StateT", bound=StrEnum)


def parse_state(states: type[StateT], text: str | None) -> StateT | None:
    """Read the name of a state, or `None` for any; raise `InvalidRequest`."""
    if text is None:
        return None
    try:
        return states(text)
    except ValueError as error:
        known = ", ".join(state.value for state in states)
        raise InvalidRequest(
            f"state must be one of {known}, it is {text!r}", code="invalid_state"
        ) from error
