"""Everything the library raises on purpose.

One class per decision that a caller can take. `code` is stable and public: programs, logs and
the gateway's problem details compare it; `message` is for people and may change.
"""

from typing import ClassVar


class ResonateError(Exception):
    """Base of all errors of the library.

    `retriable` says whether the same call may succeed later without anybody changing anything.
    """

    default_code: ClassVar[str] = "error"
    default_retriable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, code: str | None = None, retriable: bool | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = self.default_code if code is None else code
        self.retriable = self.default_retriable if retriable is None else retriable

    def __reduce__(self) -> tuple[object, ...]:
        """Survive copying and process pools although the constructor takes keywords."""
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(
    cls: type[ResonateError], args: tuple[object, ...], state: dict[str, object]
) -> ResonateError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


# The registry


class FunctionNotRegistered(ResonateError):
    """A function was named that this process does not know."""

    default_code = "function_not_registered"


class AlreadyRegistered(ResonateError):
    """A name and version were registered twice."""

    default_code = "already_registered"


class InvalidVersion(ResonateError):
    """A version of a function is not a positive integer."""

    default_code = "invalid_version"


# What a store answers


class InvalidRequest(ResonateError):
    """The store refused a malformed request (400); `code` names the flaw, `message` the field."""

    default_code = "invalid_request"


class PromiseNotFound(ResonateError):
    """There is no promise with this id."""

    default_code = "promise_not_found"


class TaskNotFound(ResonateError):
    """There is no task with this id."""

    default_code = "task_not_found"


class ScheduleNotFound(ResonateError):
    """There is no schedule with this id."""

    default_code = "schedule_not_found"


class VersionConflict(ResonateError):
    """The task is not in the state, or not at the version, that the request demands (409)."""

    default_code = "version_conflict"


class PreconditionFailed(ResonateError):
    """The request is well formed, but the promises that it names do not allow it (422)."""

    default_code = "precondition_failed"


class IdempotencyConflict(ResonateError):
    """The id exists and was made by a different call; asked for with `on_conflict="raise"`."""

    default_code = "idempotency_conflict"


class ServerUnavailable(ResonateError):
    """The store could not be reached, or did not answer in time.

    Whether the operation happened is unknown; every operation may be sent again.
    """

    default_code = "server_unavailable"
    default_retriable = True


class ServerOverloaded(ServerUnavailable):
    """The store is reachable and refused for lack of room (429); nothing happened. Slow down."""

    default_code = "overloaded"


class ServerError(ResonateError):
    """The store failed inside (500); its logs say why."""

    default_code = "internal"


class NotSupported(ResonateError):
    """The store does not offer the operation; the message names what is missing."""

    default_code = "not_supported"


class Unauthenticated(ResonateError):
    """The store wants a valid token (401)."""

    default_code = "unauthenticated"


class PermissionDenied(ResonateError):
    """The token does not allow this operation or this id (403)."""

    default_code = "permission_denied"


# How a promise ended


class PromiseTimedOut(ResonateError):
    """The promise's deadline passed before anybody settled it."""

    default_code = "promise_timed_out"


class PromiseCanceled(ResonateError):
    """The promise was canceled."""

    default_code = "promise_canceled"


class RemoteError(ResonateError):
    """A rejection whose class is unknown in this process.

    `type_name` is the class's name where it was raised, `details` what travelled with it and
    `traceback` its stack there, when the other side sent one.
    """

    default_code = "remote_error"

    def __init__(
        self,
        message: str,
        type_name: str = "Error",
        details: object = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(message)
        self.type_name = type_name
        self.details = details
        self.traceback = traceback


# The codec


class EncodeError(ResonateError):
    """A value cannot be written as bytes."""

    default_code = "encode_error"


class DecodeError(ResonateError):
    """Bytes cannot be read as a value."""

    default_code = "decode_error"


# Programming errors: the task is halted for a person to look at


class Panic(ResonateError):
    """The function gave up for good: the task halts instead of being retried."""

    default_code = "panic"


class NonDeterminism(ResonateError):
    """A replay asked for something else than the first pass did."""

    default_code = "non_determinism"


class NonDurableAwait(ResonateError):
    """A workflow awaited something that no promise records, or used a closed context."""

    default_code = "non_durable_await"


class ClientCallInWorkflow(RuntimeWarning):
    """The body of a workflow used the client instead of its context: nothing records that call."""


class LeaseLost(BaseException):
    """The store fenced this pass out: another process may hold the task by now.

    Internal control flow. It derives from `BaseException` so that `except Exception` in a
    workflow cannot swallow it and go on without the lease.
    """

    code = "lease_lost"

    def __init__(self, message: str = "the lease of the task is lost") -> None:
        super().__init__(message)
        self.message = message


class DependencyNotFound(ResonateError):
    """A function asked for a dependency that its process was not given."""

    default_code = "dependency_not_found"
