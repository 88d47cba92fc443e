"""Which function's body the code that runs now belongs to.

In the body of a workflow only the context may be used: a client call there is not recorded, and
each replay makes it again. Steps are free to make such calls.
"""

import sys
import warnings
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from holdfast.errors import ClientCallInWorkflow

if TYPE_CHECKING:
    from holdfast.frame import Frame

T = TypeVar("T")

body: "Final[ContextVar[Frame | None]]" = ContextVar("holdfast_workflow_body", default=None)
"""The body that runs now; set around each piece of it, and inherited by tasks that it starts."""


def warn_of_client_call(what: str, *, instead: str) -> None:
    """Warn if a method of the client was called by the body of a workflow."""
    frame = body.get()
    if frame is not None and frame.is_workflow:
        warnings.warn(
            f"{what}() was called inside the workflow {frame.function.name} ({frame.lineage.id}): "
            f"it is not recorded, so that each replay calls it again; {instead}",
            ClientCallInWorkflow,
            stacklevel=_depth_of_caller(),
        )


def _depth_of_caller() -> int:
    """Count, for `warnings`, the frames up to the one that is not the library's."""
    package = __name__.partition(".")[0]
    depth = 1
    frame = sys._getframe(1)  # noqa: SLF001 - what `inspect` offers reads source files
    while frame.f_back is not None and frame.f_globals["__name__"].partition(".")[0] == package:
        frame = frame.f_back
        depth += 1
    return depth


class Watcher(Protocol):
    """Learns how a coroutine gets on."""

    def blocked(self) -> None:
        """Learn that it waits for something."""

    def resumed(self) -> BaseException | None:
        """Learn that it goes on; answer what to throw into it instead."""


class Marked(Generic[T]):
    """Awaits a coroutine, and marks each piece of it as a part of one body, or of none.

    `begun` is what the first piece ended with, if somebody has run it already.
    """

    __slots__ = ("_begun", "_coroutine", "_frame", "_watcher")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        frame: "Frame | None",
        watcher: Watcher | None = None,
        *,
        begun: tuple[object] | None = None,
    ) -> None:
        self._coroutine = coroutine
        self._frame = frame
        self._watcher = watcher
        self._begun = begun

    def __await__(self) -> Generator[Any, Any, T]:
        """Run it piece by piece; what it waits for is handed on to whoever awaits."""
        coroutine, watcher = self._coroutine, self._watcher
        thrown: BaseException | None = None
        while True:
            if self._begun is not None:
                (item,), self._begun = self._begun, None
            else:
                outer = body.set(self._frame)
                try:
                    item = coroutine.send(None) if thrown is None else coroutine.throw(thrown)
                except StopIteration as stop:
                    value: T = stop.value
                    return value
                finally:
                    body.reset(outer)
            if watcher is not None:
                watcher.blocked()
            thrown = None
            try:
                yield item
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - for the coroutine to deal with
                thrown = error
            if watcher is not None:
                thrown = watcher.resumed() or thrown
