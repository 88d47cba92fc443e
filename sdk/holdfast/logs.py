"""The library's events: a constant name and details as keys, on the standard library's logging.

Nothing is configured here; whoever runs the process decides where records go. The details travel
in the record's attribute `holdfast_keys`, which a formatter may print. Where nobody has set logging
up, Python prints the message of a warning and nothing else: there the message has the details too,
so that a first program is told why its task was halted.
"""

import logging
from collections.abc import Callable, MutableMapping
from typing import Any

from holdfast.tracing import log_keys

LIBRARY_LOGGER = "holdfast"

_KEYS = "holdfast_keys"


class EventLog:
    """Writes `log.warning("step_failed", step_id=...)`: constant names in the past tense."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def info(self, event: str, /, **keys: object) -> None:
        """Log a change of state."""
        self._log(logging.INFO, event, keys)

    def warning(self, event: str, /, **keys: object) -> None:
        """Log what is unexpected but handled."""
        self._log(logging.WARNING, event, keys)

    def error(self, event: str, /, *, error: BaseException | None = None, **keys: object) -> None:
        """Log what should wake a person, with the exception that caused it."""
        self._log(logging.ERROR, event, keys, error=error)

    def _log(
        self,
        level: int,
        event: str,
        keys: dict[str, object],
        *,
        error: BaseException | None = None,
    ) -> None:
        if self._logger.isEnabledFor(level):
            message = event if self._logger.hasHandlers() else _in_words(event, keys)
            extra = {_KEYS: {**log_keys(), **keys}}
            self._logger.log(level, message, exc_info=error, extra=extra, stacklevel=3)


def _in_words(event: str, keys: dict[str, object]) -> str:
    return " ".join([event, *(f"{key}={value}" for key, value in keys.items())])


class ReplaySilentLogger(logging.LoggerAdapter[logging.Logger]):
    """The log of a workflow: what an earlier pass has said already is not said again."""

    def __init__(
        self, logger: logging.Logger, keys: dict[str, object], is_replaying: Callable[[], bool]
    ) -> None:
        super().__init__(logger, keys)
        self._is_replaying = is_replaying

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
        """Tell whether a record of this level would be written now."""
        return not self._is_replaying() and super().isEnabledFor(level)

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Attach the ids of workflow and trace to a record."""
        keys = {**log_keys(), **(self.extra or {})}
        kwargs["extra"] = {**kwargs.get("extra", {}), _KEYS: keys}
        return msg, kwargs
