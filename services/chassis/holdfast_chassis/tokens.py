"""Bearer tokens: JSON Web Tokens that are verified by public keys.

Which algorithms count is decided by the type of each key and never by the token, so that neither
`alg: none` nor a signature made with the public key as a shared secret is accepted.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import jwt

from holdfast_chassis.authorization import Denied, Grant, grant_of, judge, unauthenticated
from holdfast_chassis.keys import Key, Keys

TOKEN_CHARACTERS_MAX: Final = 16_384
GRANTS_MAX: Final = 4_096
"""Verified tokens that are remembered; a signature costs a hundred times the look-up."""

EXP_MAX: Final = 2**53
"""Seconds since the epoch; a float that is not finite would count for ever."""

_SCHEME: Final = "bearer "
_EXPIRED: Final = "the token has expired: send one whose `exp` lies ahead"


class KeySource(Protocol):
    """Where the keys come from. They may be replaced at any time."""

    async def current(self, *, wanted: str | None = None) -> Keys:
        """Answer the keys; look for newer ones where `wanted`, a key's id, is not among them.

        Raises `KeysUnavailable` when none could ever be had.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What a token must say besides being signed."""

    issuer: str | None = None
    audience: str | None = None
    leeway_s: float = 10.0
    """By how much the clocks of the issuer and of this machine may differ."""


class Verifier:
    """Verifies tokens, each once for as long as it lasts and the keys stay the same."""

    def __init__(
        self,
        source: KeySource,
        expectations: Expectations,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._expectations = expectations
        self._now_s = now_s
        self._grants: OrderedDict[str, Grant] = OrderedDict()
        self._granted_by: Keys | None = None

    async def authorize(self, token: str | None, names: Iterable[str | None]) -> Grant:
        """Verify a token and that it covers all names; raises `Denied` or `KeysUnavailable`."""
        grant = await self.verify(token)
        denial = judge(grant, names)
        if denial is not None:
            raise Denied(denial)
        return grant

    async def verify(self, token: str | None) -> Grant:
        """Answer what a token allows; raises `Denied` (401) or `KeysUnavailable`."""
        if not token:
            raise unauthenticated(
                "token_missing", "a bearer token is required here, and the request has none"
            )
        keys = await self._source.current()
        if keys is not self._granted_by:
            # A key that was taken away takes its tokens with it.
            self._grants.clear()
            self._granted_by = keys
        grant = self._grants.get(token)
        if grant is None:
            grant = await self._verify_anew(token, keys)
        if self.is_over(grant):
            self._grants.pop(token, None)
            raise unauthenticated("token_expired", _EXPIRED)
        return grant

    def is_over(self, grant: Grant) -> bool:
        """Whether the token of a grant has expired since."""
        return self.remaining_s(grant) <= 0

    def remaining_s(self, grant: Grant) -> float:
        """How long the token of a grant counts still; the leeway is the bearer's."""
        return grant.expires_at_s + self._expectations.leeway_s - self._now_s()

    async def _verify_anew(self, token: str, keys: Keys) -> Grant:
        header = _header_of(token)
        kid = header.get("kid")
        if isinstance(kid, str) and not keys.knows(kid):
            keys = await self._source.current(wanted=kid)
        claims = _claims_of(token, header, keys, self._expectations)
        grant = grant_of(claims)
        if keys is self._granted_by:  # else they were replaced meanwhile, and it is verified again
            self._grants[token] = grant
            if len(self._grants) > GRANTS_MAX:
                self._grants.popitem(last=False)
        return grant


def token_in(header: str | None) -> str | None:
    """Take the token out of an `Authorization` header; `None` for another scheme."""
    if header is None or header[: len(_SCHEME)].lower() != _SCHEME:
        return None
    return header[len(_SCHEME) :].strip()


def _header_of(token: str) -> Mapping[str, Any]:
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise _bad(f"it is longer than {TOKEN_CHARACTERS_MAX} characters")
    try:
        return jwt.get_unverified_header(token)
    except _FLAWS as error:
        raise _bad(str(error)) from error


_FLAWS: Final = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What a token that somebody has made up can make the library raise."""


def _claims_of(
    token: str, header: Mapping[str, Any], keys: Keys, expected: Expectations
) -> Mapping[str, object]:
    if keys.are_ignored:
        return _read(token, None, expected)
    fitting = keys.fitting(kid=header.get("kid"), algorithm=header.get("alg"))
    if not fitting:
        raise _bad(
            f"no key here fits its algorithm {header.get('alg')!r} and key id {header.get('kid')!r}"
        )
    for number, key in enumerate(fitting, start=1):
        try:
            return _read(token, key, expected)
        except _WrongKey as error:
            if number == len(fitting):
                raise _bad("its signature was made with none of the keys here") from error
    raise AssertionError("the last key answers or raises")


class _WrongKey(Exception):
    """The signature is not by this key."""


def _read(token: str, key: Key | None, expected: Expectations) -> Mapping[str, object]:
    """Read the claims; `exp` is judged by the caller, who also judges it later."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key="" if key is None else key.public,
            algorithms=None if key is None else list(key.algorithms),
            issuer=expected.issuer,
            audience=expected.audience,
            leeway=expected.leeway_s,
            options={
                "verify_signature": key is not None,
                "require": ["exp"],
                "verify_exp": False,
                "verify_nbf": True,
                "verify_iss": expected.issuer is not None,
                "verify_aud": expected.audience is not None,
                "verify_iat": False,  # an instant of issue in the future is no reason to doubt it
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except jwt.InvalidSignatureError as error:
        raise _WrongKey from error
    except _FLAWS as error:
        raise _bad(str(error)) from error
    expires_at = claims["exp"]
    if type(expires_at) not in (int, float) or not 0 <= expires_at <= EXP_MAX:
        raise _bad("its `exp` claim is no instant in seconds")
    return claims


def _bad(why: str) -> Denied:
    return unauthenticated("token_invalid", f"the token is not valid here: {why[:300]}")
