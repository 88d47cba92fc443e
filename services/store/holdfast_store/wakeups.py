"""What stores on one database tell each other, and the port that it travels through.

A message is a hint and never the only way: whoever misses one finds the same in the database a
little later. So a message may be lost, repeated, or say too much; it must not say nothing for ever.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

MESSAGE_BYTES_MAX: Final = 7_900
"""PostgreSQL takes up to 8000 bytes; what does not fit becomes "look at everything"."""

NAMES_MAX: Final = 1_000
"""Names that are kept for one message; more than that are not worth telling apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What became of interest to other stores by a commit here."""

    groups: frozenset[str] = frozenset()
    """Groups with waiting tasks that no member here could take."""
    addresses: frozenset[str] = frozenset()
    """Addresses with settled promises that no member here receives."""
    everything: bool = False
    """Anything may have happened."""

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.groups or self.addresses or self.everything)

    def __or__(self, other: "News") -> "News":
        """Join two; too many names are everything."""
        groups, addresses = self.groups | other.groups, self.addresses | other.addresses
        if self.everything or other.everything or len(groups) + len(addresses) > NAMES_MAX:
            return EVERYTHING
        return News(groups=groups, addresses=addresses)


NO_NEWS: Final = News()
EVERYTHING: Final = News(everything=True)

Hear = Callable[[News], None]
"""Takes what another store told; called on the event loop, also without news: "I am here"."""


class Wakeups(Protocol):
    """The way between stores. One that knows no others drops everything, and hears nothing."""

    @property
    def is_up(self) -> bool:
        """Whether what others tell now is heard; if not, the database must be looked at often."""

    def tell(self, news: News) -> None:
        """Tell the others soon; what comes before it left is told together."""

    async def run(self, hear: Hear) -> None:
        """Carry messages until cancelled. `EVERYTHING` is heard whenever some may be missing."""


def written(store: str, number: int, news: News) -> str:
    """Write a message of a store; its number lets the sender recognize it."""
    message: dict[str, object] = {"store": store, "number": number}
    if news.everything:
        message["everything"] = True
    else:
        message |= {"groups": sorted(news.groups)} if news.groups else {}
        message |= {"addresses": sorted(news.addresses)} if news.addresses else {}
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MESSAGE_BYTES_MAX:
        return written(store, number, EVERYTHING)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A message that arrived."""

    store: str
    number: int
    news: News


def read(text: str) -> Heard:
    """Read a message. What cannot be read is of some other version: it may mean anything."""
    try:
        message = json.loads(text)
        return Heard(
            store=str(message["store"]),
            number=int(message["number"]),
            news=News(
                groups=frozenset(map(str, message.get("groups", ()))),
                addresses=frozenset(map(str, message.get("addresses", ()))),
                everything=bool(message.get("everything", False)),
            ),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return Heard(store="", number=0, news=EVERYTHING)
