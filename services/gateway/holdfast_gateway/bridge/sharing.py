"""What many have a share in, so that nobody has so much that others have nothing. Pure."""

from collections.abc import Hashable


class Shares:
    """So much of something, of which nobody may have more than is then left for the others."""

    __slots__ = ("_free", "_taken")

    def __init__(self, most: int) -> None:
        self._free = most
        self._taken: dict[Hashable, int] = {}

    def take(self, who: Hashable, amount: int = 1) -> bool:
        """Take something if that is within the share."""
        taken = self._taken.get(who, 0) + amount
        if taken > self._free:
            return False
        self._taken[who] = taken
        self._free -= amount
        return True

    def give(self, who: Hashable, amount: int = 1) -> None:
        """Give it back."""
        self._free += amount
        self._taken[who] -= amount
        if not self._taken[who]:
            del self._taken[who]

    def has(self, who: Hashable) -> bool:
        """Whether somebody has any."""
        return who in self._taken
