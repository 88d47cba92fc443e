"""What a deployment may choose: the knobs of the protocol that change answers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """The defaults are the recommended rules."""

    await_internal: bool = False
    """Whether promises that nobody outside settles may be awaited (otherwise 422)."""
    external_scopes: str = "any"
    """Which values of the tag `resonate:scope` make a promise external: `any`, `global`, `off`."""
    composite_origin: bool = False
    """Whether awaits across trees are refused (400)."""
    strict_lineage: bool = False
    """Whether ids must extend what their lineage tags name (400)."""
    empty_heartbeat: str = "refresh-pid"
    """What a heartbeat that names no task does: `refresh-pid`, `ok` (nothing) or `reject` (400)."""
    search: bool = True
    """Whether searches are answered (otherwise 501)."""
    extensions: bool = False
    """Whether requests may say what plain HTTP cannot: `waitMode` of a suspend; `notBefore` and
    `reason` of a release; `version` of a halt; `required` of a fence; `paused` and `timeZone` of a
    schedule; and the kinds `schedule.pause` and `chain`."""
    unknown_releases_max: int = 10
    """As how many releases for an unknown function halt a task; with 0 none does."""
    retry_ms: int = 30_000
    """How long after a dispatch the next one is due."""


def origin_of(promise_id: str) -> str:
    """Return the root of the tree that an id belongs to."""
    separator = ":" if ":" in promise_id else "."
    return promise_id.split(separator, maxsplit=1)[0]
