"""Structured events: a constant name and details as keys, on top of the standard library's logging.

Each event is one JSON line when nobody watches, and one coloured line when stderr is a terminal.
What third parties log goes through the same formatter, with its message as the event.
"""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, TextIO

_EVERYWHERE: Final[ContextVar[Mapping[str, object]]] = ContextVar(
    "holdfast_log_keys", default=MappingProxyType({})
)

Keys = Callable[[], Mapping[str, object]]

_KEYS = "holdfast_keys"  # the attribute of a LogRecord that carries an event's details

_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31;1"}


class Logger:
    """Writes events, `log.info("task_acquired", task_id=...)`: constant names in the past tense."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, /, **keys: object) -> None:
        """Log what only a developer wants to know."""
        self._log(logging.DEBUG, event, keys)

    def info(self, event: str, /, **keys: object) -> None:
        """Log a change of state."""
        self._log(logging.INFO, event, keys)

    def warning(self, event: str, /, **keys: object) -> None:
        """Log what is unexpected but handled."""
        self._log(logging.WARNING, event, keys)

    def error(self, event: str, /, **keys: object) -> None:
        """Log what should wake a person."""
        self._log(logging.ERROR, event, keys)

    def exception(self, event: str, /, **keys: object) -> None:
        """Log an error with the exception that is being handled."""
        self._log(logging.ERROR, event, keys, exc_info=True)

    def _log(
        self, level: int, event: str, keys: Mapping[str, object], *, exc_info: bool = False
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, exc_info=exc_info, extra={_KEYS: keys}, stacklevel=3)


def get_logger(name: str) -> Logger:
    """Return the logger of a module, named by its `__name__`."""
    return Logger(logging.getLogger(name))


@contextlib.contextmanager
def log_keys(**keys: object) -> Iterator[None]:
    """Add keys to every event that is logged inside the block, those of third parties too.

    Tasks that are started inside keep them, whatever they do later. What an event says itself wins.
    """
    token = _EVERYWHERE.set({**_EVERYWHERE.get(), **keys})
    try:
        yield
    finally:
        _EVERYWHERE.reset(token)


def setup_logging(
    level: str, service: str, *, stream: TextIO | None = None, keys: Keys = dict
) -> None:
    """Send everything that is logged to stderr, in the form that suits who reads it.

    `keys` tells, when something is logged, what else the line is to say.
    """
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(HumanFormatter(keys) if stream.isatty() else JsonFormatter(service, keys))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `ts`, `level`, `event`, `logger` and `service` are always ours."""

    def __init__(self, service: str, keys: Keys = dict) -> None:
        super().__init__()
        self._service = service
        self._keys = keys

    def format(self, record: logging.LogRecord) -> str:
        """Encode a record; what JSON cannot say is said as text."""
        event = event_of(record, self._keys(), service=self._service)
        return json.dumps(event, default=str, skipkeys=True, ensure_ascii=False)


class HumanFormatter(logging.Formatter):
    """One line for a person: time, level, event, details."""

    def __init__(self, keys: Keys = dict) -> None:
        super().__init__()
        self._keys = keys

    def format(self, record: logging.LogRecord) -> str:
        """Render a record, in colour unless NO_COLOR says otherwise."""
        return human_line(event_of(record, self._keys()), colour=not os.environ.get("NO_COLOR"))


def event_of(
    record: logging.LogRecord, more: Mapping[str, object], **fixed: object
) -> dict[str, object]:
    """Return a record as the fields of an event; those in `more` unless it has them itself."""
    instant = datetime.fromtimestamp(record.created, UTC)
    event: dict[str, object] = {
        "ts": instant.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        "logger": record.name,
        **fixed,
    }
    for key, value in {**more, **_EVERYWHERE.get(), **getattr(record, _KEYS, {})}.items():
        event.setdefault(key, value)
    if record.exc_info and record.exc_info[0] is not None:
        event["exception"] = logging.Formatter().formatException(record.exc_info)
    return event


def human_line(event: Mapping[str, object], *, colour: bool) -> str:
    """Render the fields of an event, as a formatter or another process's JSON line gives them."""
    level = str(event["level"])
    on, dim, off = (
        (f"\x1b[{_COLOURS.get(level, '0')}m", "\x1b[2m", "\x1b[0m") if colour else ("",) * 3
    )
    details = {
        key: value
        for key, value in event.items()
        if key not in {"ts", "level", "event", "logger", "service", "exception"}
    }
    clock = str(event["ts"])[11:23]
    pairs = "".join(f" {dim}{key}={off}{value}" for key, value in details.items())
    line = (
        f"{dim}{clock}{off} {on}{level:<7}{off} {event['event']}{pairs} {dim}{event['logger']}{off}"
    )
    return f"{line}\n{event['exception']}" if "exception" in event else line
