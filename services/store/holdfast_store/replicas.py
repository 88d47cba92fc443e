"""What a store knows of the others on its database: who there is, and whom they could give work.

Numbers of members and credits are told through the database about once a second. They are for
operators: nothing is decided by them but whether there is anybody to tell of what happens here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from holdfast_store.wakeups import Wakeups

LAPSED_MS: Final = 10_000
"""Silence after which a store does not count any more."""

FORGOTTEN_MS: Final = 60_000
"""Silence after which its row is deleted, by whichever store comes by."""

GROUPS_TOLD_MAX: Final = 1_000
"""Groups of one store whose numbers the others learn; the numbers of more are known only there."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one group has, at one store or at several."""

    members: int = 0
    free_credits: int = 0

    def __add__(self, other: "Share") -> "Share":
        """Put two together."""
        return Share(self.members + other.members, self.free_credits + other.free_credits)


NO_SHARE: Final = Share()


@runtime_checkable
class SharedStorage(Protocol):
    """A storage whose database other stores may use at the same time."""

    def wakeups(self) -> Wakeups:
        """Make the way to the others; it does nothing before it runs."""

    async def exchange(self, groups: str) -> Sequence[str]:
        """Say what the groups have here; answer what the other stores said that are alive."""

    async def depart(self) -> None:
        """Take back what was said here: this store ends."""


def written(groups: Mapping[str, Share]) -> str:
    """Write down what groups have."""
    told = sorted(groups.items())[:GROUPS_TOLD_MAX]
    return json.dumps({name: (each.members, each.free_credits) for name, each in told})


def read(text: str) -> Mapping[str, Share]:
    """Read what another store wrote; what another version wrote otherwise counts for nothing."""
    try:
        return {
            str(name): Share(int(members), int(free_credits))
            for name, (members, free_credits) in json.loads(text).items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}


def total(stores: Sequence[Mapping[str, Share]]) -> Mapping[str, Share]:
    """Sum up what several stores have, per group."""
    totals: dict[str, Share] = {}
    for groups in stores:
        for name, share in groups.items():
            totals[name] = totals.get(name, NO_SHARE) + share
    return totals
