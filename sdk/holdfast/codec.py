"""Values to bytes and back: base64 of JSON, as the official SDKs write it. Never pickle.

Errors travel as JSON objects; a class is rebuilt only if it is a builtin exception, one of this
library's, or was named to `register_error`, so that nobody who can write a promise can choose
what code runs here.
"""

import binascii
import builtins
import math
import traceback
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar, cast

import msgspec

from holdfast import errors
from holdfast.core.limits import VALUE_BYTES_MAX
from holdfast.errors import DecodeError, EncodeError, RemoteError, ResonateError

STACK_CHARS_MAX = 8_192
"""A stack is kept for people; the innermost frames say most."""

_INF = "__INF__"
_NEG_INF = "__NEG_INF__"
_NAN = "__NAN__"
_MARKERS = {_INF: math.inf, _NEG_INF: -math.inf, _NAN: math.nan}

E = TypeVar("E", bound=type[Exception])

# Classes belong to a process, not to a client, and promises cross clients; hence one table.
_known_errors: dict[tuple[str, str], type[Exception]] = {}


def register_error(cls: E) -> E:
    """Let rejections of this class be raised as themselves; usable as a decorator.

    Without it they arrive as `RemoteError`, in the process that raised them as well, so that a
    workflow behaves the same before and after a crash.

    >>> @register_error
    ... class CardDeclined(Exception):
    ...     pass
    """
    _known_errors[cls.__module__, cls.__qualname__] = cls
    return cls


class Encryptor(Protocol):
    """Turns the JSON bytes of a payload into others and back; both must be pure."""

    def encrypt(self, plain: bytes) -> bytes:
        """Hide bytes."""

    def decrypt(self, hidden: bytes) -> bytes:
        """Reveal bytes; raise on any that were not hidden with the same key."""


class Codec:
    """Encodes payloads, optionally encrypted.

    `None` is an absent payload; an empty one decodes to `None` as well.
    """

    __slots__ = ("_encoder", "_encryptor", "bytes_max")

    def __init__(
        self, encryptor: Encryptor | None = None, *, bytes_max: int = VALUE_BYTES_MAX
    ) -> None:
        self._encoder = msgspec.json.Encoder(enc_hook=_as_json)
        self._encryptor = encryptor
        self.bytes_max = bytes_max

    def encode(self, value: object) -> bytes | None:
        """Write a value; raise `EncodeError` for one that JSON cannot say, or a too large one."""
        if value is None:
            return None
        try:
            text = self._encoder.encode(value)
            # The encoder writes infinities and NaN as null: only then is a second look needed.
            if b"null" in text:
                plain = msgspec.to_builtins(value, enc_hook=_as_json, str_keys=True)
                marked = _mark(plain)
                if marked is not plain:
                    text = self._encoder.encode(marked)
        except EncodeError:
            raise
        except Exception as error:
            raise EncodeError(
                f"a value of type {type(value).__name__} cannot be written as JSON: "
                f"{message_of(error)}"
            ) from error
        if self._encryptor is not None:
            try:
                text = self._encryptor.encrypt(text)
            except Exception as error:
                raise EncodeError(f"a value cannot be encrypted: {message_of(error)}") from error
        data = binascii.b2a_base64(text, newline=False)
        if len(data) > self.bytes_max:
            raise EncodeError(
                f"a value takes {len(data)} bytes, the most that a promise holds are "
                f"{self.bytes_max}; store large data elsewhere and pass a reference",
                code="value_too_large",
            )
        return data

    def decode(self, data: bytes | None) -> object:
        """Read a value; raise `DecodeError` for anything that `encode` does not write."""
        if not data:
            return None
        try:
            text = binascii.a2b_base64(data)
            if self._encryptor is not None:
                text = self._encryptor.decrypt(text)
            value: object = msgspec.json.decode(text)
            if b"_INF__" in text or b"__NAN__" in text:
                value = _unmark(value)
        except Exception as error:
            raise DecodeError(f"a payload is not base64 of JSON: {message_of(error)}") from error
        return value

    def encode_error(self, error: BaseException, *, note: str | None = None) -> bytes:
        """Write an exception; `note` is appended to its message."""
        described = describe_error(error, note=note)
        try:
            data = self.encode(described)
        except EncodeError:
            # The message itself is too large or not Unicode: keep what is certain to fit.
            text = message_of(error).encode("ascii", "replace").decode()[:STACK_CHARS_MAX]
            described.update(message=text, stack="")
            described.pop("args", None)
            described.pop("details", None)
            data = self.encode(described)
        assert data is not None
        return data

    def decode_error(self, data: bytes | None) -> Exception:
        """Read a rejection as an exception to raise; never raises one itself."""
        try:
            value = self.decode(data)
        except DecodeError as error:
            return error
        try:
            return build_error(value)
        except Exception:  # noqa: BLE001 - anybody may have written the rejection
            return RemoteError("a rejection that cannot be rebuilt", details=value)


def describe_error(error: BaseException, *, note: str | None = None) -> dict[str, object]:
    """Say an exception in JSON, as the official SDKs do, plus what lets us rebuild it."""
    if isinstance(error, BaseExceptionGroup):
        return {
            "__type": "aggregate_error",
            "message": error.message,
            "name": type(error).__name__,
            "errors": [describe_error(e) for e in error.exceptions],
            "stack": "",
        }
    message = message_of(error)
    args: object = list(error.args)
    if note is not None:
        message = f"{message} ({note})" if message else note
        args = [message] if len(error.args) <= 1 else None
    name = error.type_name if isinstance(error, RemoteError) else type(error).__qualname__
    stack = "".join(traceback.format_exception(error, chain=False))
    described: dict[str, object] = {
        "__type": "error",
        "message": message,
        "name": name,
        "stack": stack[-STACK_CHARS_MAX:],
    }
    if isinstance(error, RemoteError):
        described["stack"] = error.traceback or ""
        if error.details is not None:
            described["details"] = error.details
        return described
    described["module"] = type(error).__module__
    if isinstance(error, ResonateError):
        described["code"] = error.code
    if _is_json(args):
        described["args"] = args
    return described


def build_error(value: object) -> Exception:
    """Make the exception that a rejection's value describes."""
    if not isinstance(value, dict) or "__type" not in value:
        message = value if isinstance(value, str) else f"rejected with {value!r}"
        return RemoteError(message, details=value)
    message = str(value.get("message") or "")
    if value["__type"] == "aggregate_error":
        described = value.get("errors")
        inner = [build_error(e) for e in described] if isinstance(described, list) else []
        return ExceptionGroup(message, inner) if inner else RemoteError(message, "AggregateError")
    name = str(value.get("name") or "Error")
    known = _known_class(value.get("module"), name)
    if known is not None:
        error = _construct(known, message, value)
        if error is not None:
            return error
    stack = value.get("stack")
    details = {k: v for k, v in value.items() if k not in _ERROR_FIELDS}
    return RemoteError(
        message,
        name,
        details=value.get("details", details or None),
        traceback=stack if isinstance(stack, str) else None,
    )


_ERROR_FIELDS = frozenset({"__type", "message", "name", "stack", "module", "args", "details"})


def _known_class(module: object, name: str) -> type[Exception] | None:
    if module == "builtins":
        known = getattr(builtins, name, None)
    elif module == errors.__name__:
        known = getattr(errors, name, None)
    else:
        known = _known_errors.get((str(module), name))
    if isinstance(known, type) and issubclass(known, Exception):
        return known
    return None


def _construct(
    cls: type[Exception], message: str, described: Mapping[str, object]
) -> Exception | None:
    args = described.get("args")
    attempts = [tuple(args)] if isinstance(args, list) else []
    attempts.append((message,))
    for arguments in attempts:
        try:
            error = cls(*arguments)
            code = described.get("code")
            if isinstance(error, ResonateError) and isinstance(code, str):
                error.code = code
        except Exception:  # noqa: BLE001, S112 - a constructor may want anything; the caller falls back
            continue
        return error
    return None


def message_of(error: BaseException) -> str:
    """Say an exception's message; of a class whose own `__str__` fails, the class."""
    # str(KeyError("x")) is "'x'", which reads as a quoted nothing.
    if isinstance(error, KeyError) and len(error.args) == 1 and isinstance(error.args[0], str):
        return error.args[0]
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the class is a user's
        return type(error).__name__


def _is_json(value: object) -> bool:
    """Whether a value is what its JSON says, so that it can be passed to a constructor again."""
    if value is None or isinstance(value, (str, bool, int)):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    return type(value) is list and all(_is_json(item) for item in value)


def _as_json(value: object) -> object:
    """Say what the JSON encoder does not know."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):  # pydantic, without importing it
        return cast("Callable[..., object]", dump)(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, BaseException):
        return describe_error(value)
    raise EncodeError(
        f"a value of type {type(value).__name__} cannot be written as JSON; "
        "return plain data, a dataclass, a msgspec struct or a pydantic model"
    )


def _mark(value: object) -> object:
    """Replace non-finite floats by their markers; answer the same object if there are none."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        if math.isnan(value):
            return _NAN
        return _INF if value > 0 else _NEG_INF
    if isinstance(value, dict):
        marked = {k: _mark(v) for k, v in value.items()}
        return marked if any(marked[k] is not v for k, v in value.items()) else value
    if isinstance(value, (list, tuple)):
        items = [_mark(v) for v in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    return value


def _unmark(value: object) -> object:
    if isinstance(value, str):
        return _MARKERS.get(value, value)
    if isinstance(value, dict):
        return {k: _unmark(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_unmark(v) for v in value]
    return value
