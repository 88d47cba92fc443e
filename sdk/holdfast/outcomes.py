"""Refusals of a store as exceptions: one table."""

from collections.abc import Mapping

from holdfast.core.requests import Refusal
from holdfast.errors import (
    InvalidRequest,
    NotSupported,
    PermissionDenied,
    PreconditionFailed,
    PromiseNotFound,
    ResonateError,
    ScheduleNotFound,
    ServerError,
    ServerOverloaded,
    ServerUnavailable,
    TaskNotFound,
    Unauthenticated,
    VersionConflict,
)

_BY_STATUS: Mapping[int, type[ResonateError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: PermissionDenied,
    404: PromiseNotFound,
    409: VersionConflict,
    422: PreconditionFailed,
    429: ServerOverloaded,
    500: ServerError,
    501: NotSupported,
    503: ServerUnavailable,
}


def error_of(refusal: Refusal) -> ResonateError:
    """Make the exception for a refused operation; its code is the store's."""
    cls = _BY_STATUS.get(refusal.status, ServerError)
    for known in (TaskNotFound, ScheduleNotFound):
        if refusal.code == known.default_code:
            cls = known
    return cls(refusal.message, code=refusal.code)
