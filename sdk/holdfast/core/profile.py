"""The operating profile: switches for rules on which checkers and clients disagree (§0.4)."""

from dataclasses import dataclass
from enum import StrEnum

from holdfast.core import limits


class AwaitInternal(StrEnum):
    """Whether internal promises may carry obligations."""

    REJECT = "reject"
    ALLOW = "allow"


class ScopeExternal(StrEnum):
    """Which values of the tag `resonate:scope` make a promise external."""

    ANY = "any"
    GLOBAL = "global"
    OFF = "off"


class OriginCheck(StrEnum):
    """Whether awaits across trees are refused."""

    OFF = "off"
    COMPOSITE = "composite"


class LineageTags(StrEnum):
    """Whether lineage tags must agree with the id."""

    OFF = "off"
    STRICT = "strict"


class EmptyHeartbeat(StrEnum):
    """What a heartbeat without references does."""

    OK = "ok"
    REFRESH_PID = "refresh-pid"
    REJECT = "reject"


class Undeliverable(StrEnum):
    """What happens to an execute message that no member can take."""

    HOLD = "hold"
    DROP = "drop"


class Search(StrEnum):
    """Whether searches are answered; the specification itself has none."""

    ON = "on"
    OFF = "501"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One value per knob of §0.4; the defaults are the recommended ones."""

    await_internal: AwaitInternal = AwaitInternal.REJECT
    scope_external: ScopeExternal = ScopeExternal.ANY
    origin_check: OriginCheck = OriginCheck.OFF
    lineage_tags: LineageTags = LineageTags.OFF
    empty_heartbeat: EmptyHeartbeat = EmptyHeartbeat.REFRESH_PID
    undeliverable: Undeliverable = Undeliverable.HOLD
    search: Search = Search.ON
    retry_interval_ms: int = limits.RETRY_INTERVAL_MS
    pacing_ms: int = limits.PACING_MS
    unknown_function_releases_max: int = limits.UNKNOWN_FUNCTION_RELEASES_MAX
    value_bytes_max: int = limits.VALUE_BYTES_MAX


DEFAULT_PROFILE = Profile()
