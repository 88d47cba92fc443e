"""Identifiers and addresses: what is well formed, and what can be read from the text."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import unquote

from holdfast.core import limits


def bytes_of(text: str) -> int:
    """Count the bytes of a text as UTF-8; raise `UnicodeEncodeError` for a lone surrogate."""
    return len(text) if text.isascii() else len(text.encode())


_BEHIND_IDS: Final = "\U0010ffff" * (limits.ID_BYTES_MAX // 4 + 1)


def end_of(prefix: str) -> str:
    """Make what sorts, by bytes, behind every id with a prefix and before all other ones."""
    return prefix + _BEHIND_IDS


def flaw_of_text(text: str, *, field: str) -> str | None:
    """Say what keeps a text from being an id, a pid or an address, or answer `None`."""
    if text and text.isascii() and len(text) <= limits.ID_BYTES_MAX and "\0" not in text:
        return None  # nearly every one, told apart without a further call
    if not text:
        return f"{field} must not be empty"
    try:
        size = bytes_of(text)
    except UnicodeEncodeError:
        return f"{field} must be valid Unicode: it contains a lone surrogate"
    if size > limits.ID_BYTES_MAX:
        return f"{field} must have at most {limits.ID_BYTES_MAX} bytes, it has {size}"
    if "\0" in text:
        return f"{field} must not contain NUL"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a message goes; `group` is empty when no poll group is named.

    `unicast` demands the member `pid`; otherwise `pid`, when given, is only preferred (§4.4).
    """

    group: str
    pid: str
    unicast: bool


UNROUTED = Address(group="", pid="", unicast=False)

HTTP_GROUP = "http:"
"""Group of everything that is pushed to an HTTP address; no poll address names it."""

_HTTP_PUSH = Address(group=HTTP_GROUP, pid="", unicast=False)


@lru_cache(maxsize=4096)
def is_absolute_uri(text: str) -> bool:
    """Tell whether a text has a scheme, a colon, something after it, and no white space (§14)."""
    scheme, colon, rest = text.partition(":")
    if not colon or not rest or not scheme[:1].isascii() or not scheme[:1].isalpha():
        return False
    if any(not (c.isascii() and (c.isalnum() or c in "+-.")) for c in scheme):
        return False
    return not any(c.isspace() for c in text)


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address:
    """Read `poll://any@group/pid` and its kin, or `http://…`; others have no group (§4.4)."""
    kind: Literal["any", "uni"]
    if text.startswith("poll://any@"):
        kind = "any"
    elif text.startswith("poll://uni@"):
        kind = "uni"
    elif text.startswith(("http://", "https://")):
        return _HTTP_PUSH
    else:
        return UNROUTED
    group, _, pid = text[len("poll://any@") :].partition("/")
    if unquote(group) == HTTP_GROUP:
        return UNROUTED  # whoever pushes expects addresses to push to
    return Address(group=unquote(group), pid=unquote(pid), unicast=kind == "uni")


def composite_origin(promise_id: str) -> str:
    """Root of the tree that an id belongs to: up to the first colon, else the first dot (§2.8)."""
    head, colon, _ = promise_id.partition(":")
    return head if colon else promise_id.partition(".")[0]
