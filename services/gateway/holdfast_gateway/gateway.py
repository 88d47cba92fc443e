"""What every route works with: the client, the settings, and the rule for starting."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from holdfast import Resonate
from holdfast.errors import ServerUnavailable
from holdfast_gateway.outcomes import Waits
from holdfast_gateway.settings import GatewaySettings
from holdfast_gateway.signatures import Deliveries
from holdfast_gateway.watching import Watches

if TYPE_CHECKING:  # a program with its store inside never loads gRPC
    from holdfast.rpc.admin import ConnectedMember, Queue

WORKERS: Final = "poll://any@workers"
"""Where workflows run; the gateway knows them by name only."""


class Groups(Protocol):
    """Whoever can tell of worker groups: a client of a store process."""

    async def get_queues(self, groups: Sequence[str] = ()) -> "list[Queue]":
        """Read the queues of the named groups, zeros included, or of all that have work."""

    async def list_members(self) -> "list[ConnectedMember]":
        """Read who is connected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One per process. `not_ready` returns the reasons why requests cannot be served now."""

    settings: GatewaySettings
    resonate: Resonate
    waits: Waits
    watches: Watches
    not_ready: Callable[[], Mapping[str, str]]
    deliveries: Deliveries
    groups: Groups | None = None
    """None where the store is in this process, which nobody scales."""

    @contextlib.asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Bound calls to the store that are no operations: these may connect anew, and try again.

        Raises ServerUnavailable when they take longer than the settings allow.
        """
        try:
            async with asyncio.timeout(self.settings.store_seconds):
                yield
        except TimeoutError as error:
            raise ServerUnavailable("the promise store did not answer in time") from error

    async def begin(
        self,
        promise_id: str,
        workflow: str,
        *args: object,
        target: str = WORKERS,
        refuse_conflict: bool = False,
    ) -> None:
        """Start a workflow unless its promise exists; return once the promise is stored.

        Raises ServerUnavailable when that is not known, and IdempotencyConflict when asked to
        refuse an id that another call has used.
        """
        options = self.resonate.options(
            target=target, on_conflict="raise" if refuse_conflict else "return"
        )
        await self.resonate.begin_rpc(promise_id, workflow, *args, options)
