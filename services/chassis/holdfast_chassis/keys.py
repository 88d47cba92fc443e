"""Public keys that tokens are verified by: what was read, and which key fits which token."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

KEYS_MAX: Final = 64
RSA_BITS_MIN: Final = 2_048
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class BadKeys(Exception):
    """What should hold public keys does not; the message says what it must be."""


class KeysUnavailable(Exception):
    """There are no keys yet, because whoever has them could not be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One public key, and the only algorithms that count with it."""

    public: PublicKey
    algorithms: tuple[str, ...]
    kid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Keys:
    """The keys of one moment; a later moment's are another object, even if they are equal."""

    keys: Sequence[Key] = ()
    are_ignored: bool = False
    """Whether signatures are not verified at all, for tests."""

    def knows(self, kid: str) -> bool:
        """Whether a token that names this key can be verified."""
        return self.are_ignored or any(key.kid in (None, kid) for key in self.keys)

    def fitting(self, *, kid: object, algorithm: object) -> list[Key]:
        """List the keys that a token may be signed with; the ones it names are all it may be."""
        return [
            key
            for key in self.keys
            if algorithm in key.algorithms and (kid is None or key.kid is None or key.kid == kid)
        ]


def read_keys(data: bytes) -> Keys:
    """Read PEM blocks or a JSON Web Key Set; raises `BadKeys`."""
    keys = _jwks(data) if data.lstrip().startswith(b"{") else _pem(data)
    if len(keys) > KEYS_MAX:
        raise BadKeys(f"it must hold at most {KEYS_MAX} keys, it holds {len(keys)}")
    return Keys(keys=keys)


def _pem(data: bytes) -> list[Key]:
    keys = [_pem_key(match[1].decode(), match[0]) for match in _PEM.finditer(data)]
    if not keys:
        raise BadKeys("it must hold public keys in PEM, or a JSON Web Key Set")
    return keys


def _pem_key(label: str, block: bytes) -> Key:
    if "PRIVATE" in label:
        raise BadKeys("it holds a private key, which must stay with whoever issues tokens")
    try:
        if label == "CERTIFICATE":
            return _key(load_pem_x509_certificate(block).public_key())
        return _key(load_pem_public_key(block))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKeys(f"its block {label!r} is no public key that can be read") from error


def _jwks(data: bytes) -> list[Key]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadKeys("it must be a JSON Web Key Set, and is no JSON") from error
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise BadKeys('it must be a JSON Web Key Set: an object with a list "keys"')
    keys: list[Key] = []
    flaws: list[BadKeys] = []
    for entry in entries:
        try:
            keys.append(_jwk_key(entry))
        except _NotForUs as flaw:  # others may find a use for it: a set may hold keys of any kind
            flaws.append(flaw)
    if not keys:
        raise flaws[0] if flaws else BadKeys("its key set must hold a key")
    return keys


class _NotForUs(BadKeys):
    """A key that verifies none of our tokens."""


def _jwk_key(entry: Any) -> Key:  # noqa: ANN401 - JSON that somebody wrote
    if not isinstance(entry, dict):
        raise BadKeys("each of its keys must be an object")
    kid, algorithm = entry.get("kid"), entry.get("alg")
    if "d" in entry or entry.get("kty") == "oct":
        raise BadKeys("it holds a secret key, which must stay with whoever issues tokens")
    if entry.get("use", "sig") != "sig":
        raise _NotForUs(f"its key {kid!r} is not for signatures")
    try:
        loaded = jwt.PyJWK({name: entry[name] for name in entry if name != "alg"})
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        raise _NotForUs(f"its key {kid!r} cannot be read: {error}") from error
    found = _key(loaded.key, kid=kid if isinstance(kid, str) else None)
    if algorithm is None:
        return found
    if algorithm not in found.algorithms:
        raise _NotForUs(f"its key {kid!r} is for {algorithm!r}")
    return Key(public=found.public, algorithms=(algorithm,), kid=found.kid)


def _key(public: object, *, kid: str | None = None) -> Key:
    match public:
        case RSAPublicKey(key_size=bits):
            if bits < RSA_BITS_MIN:
                raise _NotForUs(f"RSA keys must have at least {RSA_BITS_MIN} bits, one has {bits}")
            return Key(public=public, algorithms=_RSA, kid=kid)
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return Key(public=public, algorithms=("ES256",), kid=kid)
        case EllipticCurvePublicKey(curve=SECP384R1()):
            return Key(public=public, algorithms=("ES384",), kid=kid)
        case Ed25519PublicKey():
            return Key(public=public, algorithms=("EdDSA",), kid=kid)
    raise _NotForUs("keys must be RSA, EC on P-256 or P-384, or Ed25519")
