"""Who may name what: the claims of a token against the names in a request.

Pure: `tokens` has verified the token by then, and whoever calls knows which names a request
contains. Every name counts, also the inner ones: a token that may touch `a/` must not reach `b/`
through an operation on `a/1`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

ADMIN: Final = "admin"

EVERYTHING: Final = ("",)
"""The names of a request that is about no name in particular, such as a listing: only a token
whose prefix is empty covers the empty name."""

_NAME_CHARACTERS_MAX: Final = 100
"""Of a name or a prefix in a message: the message travels in a header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Why a request is not carried out: 401 or 403, a stable code, a sentence for people."""

    status: HTTPStatus
    code: str
    message: str


class Denied(Exception):
    """A request came without a valid token, or with one that does not allow it."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.message)
        self.denial = denial


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What the bearer of a token may name, and until when."""

    prefix: str | None
    """Names must begin with it; none at all where the claim is absent or no text."""
    is_admin: bool
    expires_at_s: float
    """Seconds since the epoch, from which on the token counts no longer."""
    subject: str = ""
    """Whose token it is; empty where it does not say so."""

    def covers(self, name: str) -> bool:
        """Whether the bearer may name this."""
        return self.is_admin or (self.prefix is not None and name.startswith(self.prefix))

    @property
    def covers_everything(self) -> bool:
        """Whether the bearer may do what is about no name in particular."""
        return self.covers("")

    @property
    def bound(self) -> str:
        """The prefix that bounds what the bearer is shown; empty for everything.

        Only for a grant that allows anything at all: `judge` has denied the others.
        """
        return "" if self.is_admin or self.prefix is None else self.prefix


def grant_of(claims: Mapping[str, object]) -> Grant:
    """Read the claims of a verified token; `exp` is there, as verification demands it."""
    role, expires_at = claims.get("role"), claims["exp"]
    assert isinstance(expires_at, int | float), "verified before"
    return Grant(
        prefix=_text(claims.get("prefix")),
        is_admin=isinstance(role, str) and role.lower() == ADMIN,
        expires_at_s=float(expires_at),
        subject=_text(claims.get("sub")) or "",
    )


def _text(claim: object) -> str | None:
    """Read a claim that is a text; JSON can also spell what no Unicode text is."""
    if not isinstance(claim, str):
        return None
    try:
        claim.encode()
    except UnicodeEncodeError:
        return None
    return claim


def judge(grant: Grant, names: Iterable[str | None]) -> Denial | None:
    """Answer why a request with these names is denied, or `None`.

    A name that is missing where one belongs is `None`: it is let through, because checking the
    request's fields says more about it. Requests about no name in particular pass `EVERYTHING`.
    """
    if grant.is_admin:
        return None
    prefix = grant.prefix
    if prefix is None:
        return _forbidden(
            "prefix_missing",
            "the token has no text as its `prefix` claim, nor the role `admin`: have one issued"
            " with the prefix of the ids that it is for, or with an empty one for all",
        )
    for name in names:
        if name is not None and not name.startswith(prefix):
            return _not_covered(prefix, name)
    return None


def _not_covered(prefix: str, name: str) -> Denial:
    if not name:
        return _forbidden(
            "prefix_not_empty",
            f"the token's prefix is {shortened(prefix)}, and this request is about everything:"
            " it needs an empty prefix, or the role `admin`",
        )
    return _forbidden(
        "prefix_mismatch",
        f"the token's prefix {shortened(prefix)} does not cover the id {shortened(name)}:"
        " use a token that covers every id in the request",
    )


def unauthenticated(code: str, message: str) -> Denied:
    """Make the error of a request whose token is missing or bad."""
    return Denied(Denial(status=HTTPStatus.UNAUTHORIZED, code=code, message=message))


def _forbidden(code: str, message: str) -> Denial:
    return Denial(status=HTTPStatus.FORBIDDEN, code=code, message=message)


def shortened(name: str) -> str:
    """Write a name or a prefix for a message."""
    cut = name[:_NAME_CHARACTERS_MAX]
    return repr(cut if cut == name else f"{cut}…")
