"""Members that come back soon after the store does.

The library doubles the pause between its attempts up to some seconds while streams are short-lived.
Here the store dies every other second, and these pauses are not what is tested.
"""

from typing import Final

from holdfast.rpc import store

PAUSE_S_MAX: Final = 0.2


def come_back_soon() -> None:
    """Bound the pauses of this process."""
    setattr(store, "BACKOFF_S_MAX", PAUSE_S_MAX)  # noqa: B010 - a constant, for everybody else
