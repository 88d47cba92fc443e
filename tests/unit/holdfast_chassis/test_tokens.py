"""Tokens: which ones count, and how often their signatures are looked at."""

import base64
import hmac
import json
import time
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast_chassis.authorization import Denied
from holdfast_chassis.keys import Keys, read_keys
from holdfast_chassis.tokens import Expectations, Verifier, token_in
from tests.issuing import Issuer, ec_issuer, ed25519_issuer, jwks, rsa_issuer

RSA = rsa_issuer()
ED = ed25519_issuer()
P256 = ec_issuer(ec.SECP256R1(), "ES256")


@dataclass(frozen=True)
class In:
    """An instant so many seconds from when a test runs."""

    seconds: float


class Fixed:
    """Keys that a test replaces, and how often newer ones were asked for."""

    def __init__(self, data: bytes | None) -> None:
        self.keys = Keys(are_ignored=True) if data is None else read_keys(data)
        self.next: Keys | None = None
        self.wanted: list[str] = []

    async def current(self, *, wanted: str | None = None) -> Keys:
        if wanted is not None:
            self.wanted.append(wanted)
            self.keys = self.next or self.keys
        return self.keys


def verifier(data: bytes | None, **expected: Any) -> Verifier:
    return Verifier(Fixed(data), Expectations(**expected))


async def code_of(found: Verifier, token: str | None) -> str | None:
    try:
        await found.verify(token)
    except Denied as error:
        return error.denial.code if error.denial.status == 401 else "not a 401"
    return None


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
async def test_every_algorithm_of_a_key_counts(algorithm: str) -> None:
    grant = await verifier(RSA.pem).verify(RSA.token(algorithm=algorithm, prefix="a/"))

    assert grant.prefix == "a/"


@pytest.mark.parametrize("issuer", [ED, P256, ec_issuer(ec.SECP384R1(), "ES384")])
async def test_other_kinds_of_keys_count(issuer: Issuer) -> None:
    assert await code_of(verifier(issuer.pem), issuer.token(prefix="")) is None


def _encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def _forged(header: dict[str, object], *, secret: bytes | None = None) -> str:
    text = f"{_encoded(header)}.{_encoded({'exp': time.time() + 86_400, 'role': 'admin'})}"
    signature = b"" if secret is None else hmac.new(secret, text.encode(), sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


@pytest.mark.parametrize(
    "token",
    [
        _forged({"alg": "none"}),
        _forged({"alg": "None"}),
        _forged({"alg": "HS256"}, secret=RSA.pem),
        _forged({"alg": "HS256"}, secret=RSA.pem.strip()),
        _forged({"alg": "RS256"}, secret=RSA.pem),
        _forged({}),
        _forged({"alg": ["RS256"]}),
        _forged({"alg": "RS256", "crit": ["x"], "x": 1}),
        ED.token(role="admin"),
        RSA.token(role="admin")[:-8] + "AAAAAAAA",
        "",
        "a",
        "a.b.c",
        "é.é.é",
        f"{_encoded({'alg': 'RS256'})}.{_encoded([1])}.AAAA",
        "[" * 20_000,
        base64.urlsafe_b64encode(b"[" * 9_000).decode() + ".e30.AAAA",
    ],
    ids=map(str, count()),  # they tell the time, and every process of a run wants the same names
)
async def test_what_was_not_signed_by_a_key_here_is_refused(token: str) -> None:
    expected = "token_missing" if not token else "token_invalid"

    assert await code_of(verifier(RSA.pem), token) == expected


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": ...}, "token_invalid"),
        ({"exp": "soon"}, "token_invalid"),
        ({"exp": True}, "token_invalid"),
        ({"exp": None}, "token_invalid"),
        ({"exp": float("inf")}, "token_invalid"),
        ({"exp": float("nan")}, "token_invalid"),
        ({"exp": -1}, "token_invalid"),
        ({"exp": In(-11)}, "token_expired"),
        ({"exp": In(-5)}, None),
        ({"nbf": In(60)}, "token_invalid"),
        ({"nbf": In(5)}, None),
        ({"iat": In(3_600)}, None),
        ({"iss": "other"}, None),
        ({"aud": "other"}, None),
    ],
)
async def test_a_token_counts_for_its_time(claims: dict[str, Any], code: str | None) -> None:
    given = {"exp": In(60)} | claims
    token = jwt.encode(
        {
            name: time.time() + value.seconds if isinstance(value, In) else value
            for name, value in given.items()
            if value is not ...
        },
        ED.private,
        algorithm="EdDSA",
    )

    assert await code_of(verifier(ED.pem), token) == code


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"iss": "us", "aud": "store"}, None),
        ({"iss": "us", "aud": ["other", "store"]}, None),
        ({"iss": "us"}, "token_invalid"),
        ({"aud": "store"}, "token_invalid"),
        ({"iss": "them", "aud": "store"}, "token_invalid"),
        ({"iss": "us", "aud": ["other"]}, "token_invalid"),
    ],
)
async def test_issuer_and_audience_are_checked_where_they_are_configured(
    claims: dict[str, Any], code: str | None
) -> None:
    found = verifier(ED.pem, issuer="us", audience="store")

    assert await code_of(found, ED.token(prefix="", **claims)) == code


async def test_a_token_that_was_verified_expires_all_the_same() -> None:
    now = [time.time()]
    found = Verifier(Fixed(ED.pem), Expectations(leeway_s=10), now_s=lambda: now[0])
    token = ED.token(exp=now[0] + 60)

    assert await code_of(found, token) is None
    now[0] += 69
    assert await code_of(found, token) is None
    now[0] += 1
    assert await code_of(found, token) == "token_expired"


async def test_a_signature_is_verified_once_while_the_keys_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[str] = []
    decode = jwt.decode

    def counted(token: str, *args: Any, **kwargs: Any) -> Any:
        decoded.append(token)
        return decode(token, *args, **kwargs)

    monkeypatch.setattr(jwt, "decode", counted)
    source = Fixed(ED.pem)
    found = Verifier(source, Expectations())
    token = ED.token(prefix="")

    for _ in range(3):
        await found.verify(token)
    once = len(decoded)
    source.keys = read_keys(ED.pem)
    await found.verify(token)

    assert (once, len(decoded)) == (1, 2)


async def test_a_key_that_was_taken_away_takes_its_tokens_with_it() -> None:
    source = Fixed(ED.pem)
    found = Verifier(source, Expectations())
    token = ED.token(prefix="")
    before = await code_of(found, token)

    source.keys = read_keys(P256.pem)

    assert (before, await code_of(found, token)) == (None, "token_invalid")


async def test_a_token_of_a_key_that_is_not_known_yet_has_the_keys_asked_for_again() -> None:
    old, new = ed25519_issuer("old"), ed25519_issuer("new")
    source = Fixed(jwks(old.jwk()))
    source.next = read_keys(jwks(old.jwk(), new.jwk()))
    found = Verifier(source, Expectations())

    assert await code_of(found, old.token(prefix="")) is None
    assert source.wanted == []
    assert await code_of(found, new.token(prefix="")) is None
    assert source.wanted == ["new"]


async def test_without_keys_signatures_do_not_matter_and_claims_do() -> None:
    found = verifier(None)

    assert await code_of(found, ED.token(prefix="")) is None
    assert await code_of(found, jwt.encode({"exp": time.time() + 9}, "x" * 32)) is None
    assert await code_of(found, ED.token(exp=1)) == "token_expired"
    assert await code_of(found, None) == "token_missing"


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("", None),
        (None, None),
    ],
)
def test_the_token_is_taken_out_of_the_header(header: str | None, token: str | None) -> None:
    assert token_in(header) == token
