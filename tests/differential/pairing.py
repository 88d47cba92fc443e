"""One set of knobs, as the model and as the product have it."""

from dataclasses import dataclass

from holdfast.core.profile import (
    AwaitInternal,
    EmptyHeartbeat,
    LineageTags,
    OriginCheck,
    ScopeExternal,
)
from holdfast.core.profile import Profile as ProductProfile
from tests.model.model import Model
from tests.model.profile import Profile

RETRY_MS = 40
"""So short that dispatches are repeated within a sequence."""
UNKNOWN_RELEASES_MAX = 2
"""So few that tasks are halted for it."""


@dataclass(frozen=True)
class Pair:
    """Knobs for both sides."""

    name: str
    model: Profile
    product: ProductProfile

    def make_model(self) -> Model:
        return Model(self.model)


DEFAULT = Pair(
    "recommended",
    Profile(retry_ms=RETRY_MS, extensions=True, unknown_releases_max=UNKNOWN_RELEASES_MAX),
    # Pacing is a delay that the model does not have: it may be any.
    ProductProfile(
        retry_interval_ms=RETRY_MS,
        pacing_ms=0,
        unknown_function_releases_max=UNKNOWN_RELEASES_MAX,
    ),
)
OVER_HTTP = Pair("recommended, over HTTP", Profile(retry_ms=RETRY_MS), DEFAULT.product)
PAIRS = (
    Pair(
        "lenient",
        Profile(
            retry_ms=RETRY_MS,
            await_internal=True,
            external_scopes="off",
            empty_heartbeat="ok",
            extensions=True,
            unknown_releases_max=0,
        ),
        ProductProfile(
            retry_interval_ms=RETRY_MS,
            pacing_ms=0,
            await_internal=AwaitInternal.ALLOW,
            scope_external=ScopeExternal.OFF,
            empty_heartbeat=EmptyHeartbeat.OK,
            unknown_function_releases_max=0,
        ),
    ),
    Pair(
        "strict",
        Profile(
            retry_ms=RETRY_MS,
            external_scopes="global",
            composite_origin=True,
            strict_lineage=True,
            empty_heartbeat="reject",
            extensions=True,
        ),
        ProductProfile(
            retry_interval_ms=RETRY_MS,
            pacing_ms=0,
            scope_external=ScopeExternal.GLOBAL,
            origin_check=OriginCheck.COMPOSITE,
            lineage_tags=LineageTags.STRICT,
            empty_heartbeat=EmptyHeartbeat.REJECT,
        ),
    ),
)
