"""The activation of one function inside a run: whose children get which numbers."""

from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from holdfast.errors import NonDurableAwait
from holdfast.lineage import Lineage
from holdfast.registry import Function

A = TypeVar("A")

if TYPE_CHECKING:
    from holdfast.commands import Command, DurableFuture
    from holdfast.runtime.execution import Execution


class CoroutineBody(Protocol):
    """An `async def` body that runs: its commands begin as soon as they are made."""

    def begin(self, command: "Command[Any, Any]") -> None:
        """Begin what a method of the context has just asked for."""

    def outcome_of(self, command: "Command[Any, A]") -> Coroutine[Any, Any, A]:
        """Wait for a child that has begun."""


class Frame:
    """State of a body that runs, shared by its context and the driver.

    `observed` is the ticket of the newest settlement whose outcome the body has seen: what the
    body does next may start only when that much is durable.
    """

    __slots__ = (
        "attempt",
        "begun",
        "body",
        "deadline_ms",
        "execution",
        "function",
        "lineage",
        "observed",
        "open",
        "seq",
        "tags",
        "takes_commands",
    )

    def __init__(
        self,
        execution: "Execution",
        function: Function,
        lineage: Lineage,
        *,
        deadline_ms: int,
        tags: Mapping[str, str],
        attempt: int = 1,
        observed: int = 0,
        takes_commands: bool,
    ) -> None:
        self.execution = execution
        self.function = function
        self.lineage = lineage
        self.deadline_ms = deadline_ms
        self.tags = tags
        self.attempt = attempt
        self.observed = observed
        self.takes_commands = takes_commands
        self.body: CoroutineBody | None = None
        """What drives the body if it is `async def`."""
        self.seq = 0
        self.open: dict[int, Command[Any, Any]] = {}
        """Commands that were made and not yet yielded; what is left at the end is an error."""
        self.begun: dict[str, DurableFuture[Any]] = {}
        """Children, by id, that the body must not outlive and has not seen the end of."""

    @property
    def is_workflow(self) -> bool:
        """Whether the body is a workflow: by its kind, or because it made a durable call."""
        return self.function.kind.is_workflow or self.seq > 0

    def issue(self, command: "Command[Any, Any]") -> int:
        """Take the next number of a child for a command."""
        if not self.takes_commands:
            raise NonDurableAwait(
                f"{self.function.name} calls {command.describe()}, but it is a step: only "
                "workflows, which are generators or `async def`, have durable children"
            )
        seq = self.seq
        self.seq = seq + 1
        self.open[seq] = command
        return seq
