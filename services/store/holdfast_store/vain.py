"""How long to leave a queue alone whose tasks nobody here can take, however often it is told of.

Members of this store may fit none of a hundred thousand tasks, being of another version, and each
task more that another store queues is told of. Looking through all of them each time would take the
database's time for nothing.
"""

from collections.abc import Mapping
from typing import Final

from holdfast_store.backlog import Looks, Seen

PAUSE_S_PER_TASK: Final = 0.000_1
"""About what it takes to look at a task: so half of the time, at most, is spent in vain."""

PAUSE_S_MAX: Final = 1.0


class VainLooks:
    """Counts, per group, the tasks that looks have met since somebody took one."""

    def __init__(self) -> None:
        self._met: dict[str, int] = {}

    def looked(self, looks: Looks, seen: Mapping[str, Seen]) -> None:
        """Learn what looks found; one that begins at the front counts anew."""
        for group in looks.groups():
            found = seen.get(group)
            if found is None or found.taken or not found.count:
                self._met.pop(group, None)
            else:
                before = 0 if group in looks.oldest else self._met.get(group, 0)
                self._met[group] = before + found.count

    def pause_s(self, group: str) -> float:
        """Answer how long to wait before a look that only another store asks for."""
        return min(self._met.get(group, 0) * PAUSE_S_PER_TASK, PAUSE_S_MAX)
