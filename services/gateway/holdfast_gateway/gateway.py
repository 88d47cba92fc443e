"""What every route works with: the client, the settings, and the rule for starting."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from holdfast import Resonate
from holdfast_gateway.outcomes import Waits
from holdfast_gateway.settings import GatewaySettings

WORKERS: Final = "poll://any@workers"
"""Where workflows run; the gateway knows them by name only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One per process. `not_ready` returns the reasons why requests cannot be served now."""

    settings: GatewaySettings
    resonate: Resonate
    waits: Waits
    not_ready: Callable[[], Mapping[str, str]]

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
