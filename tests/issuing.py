"""Issuers of tokens, and authorities for certificates, as tests need them."""

import datetime as dt
import ipaddress
import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

FAR_S = 86_400


@dataclass(frozen=True)
class Issuer:
    """A private key, and the tokens that it signs."""

    private: Any
    algorithm: str
    kid: str | None = None

    def token(
        self, *, algorithm: str | None = None, exp: float | None = None, **claims: Any
    ) -> str:
        """Sign claims; the token lasts a day unless told otherwise."""
        given = {"exp": time.time() + FAR_S if exp is None else exp} | claims
        headers = None if self.kid is None else {"kid": self.kid}
        return jwt.encode(
            {name: value for name, value in given.items() if value is not ...},
            self.private,
            algorithm=algorithm or self.algorithm,
            headers=headers,
        )

    @cached_property
    def pem(self) -> bytes:
        """The public key."""
        public = self.private.public_key()
        return bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def jwk(self, **fields: Any) -> dict[str, Any]:
        """The public key as an entry of a JSON Web Key Set."""
        family = jwt.get_algorithm_by_name(self.algorithm)
        entry: dict[str, Any] = json.loads(family.to_jwk(self.private.public_key()))
        named = {} if self.kid is None else {"kid": self.kid}
        return entry | {"use": "sig"} | named | fields


def jwks(*entries: dict[str, Any]) -> bytes:
    """Write a JSON Web Key Set."""
    return json.dumps({"keys": entries}).encode()


def ed25519_issuer(kid: str | None = None) -> Issuer:
    """Make an issuer with a key that costs nothing to make."""
    return Issuer(ed25519.Ed25519PrivateKey.generate(), "EdDSA", kid)


def ec_issuer(curve: ec.EllipticCurve, algorithm: str, kid: str | None = None) -> Issuer:
    """Make an issuer with a key on a curve."""
    return Issuer(ec.generate_private_key(curve), algorithm, kid)


def rsa_issuer(bits: int = 2_048, kid: str | None = None) -> Issuer:
    """Make an issuer with an RSA key."""
    return Issuer(rsa.generate_private_key(65_537, bits), "RS256", kid)


@dataclass(frozen=True)
class Files:
    """Where a certificate and its key are."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _certificate(name, self._key, name, self._key, is_authority=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def issue(self, name: str, *, has_address: bool = True) -> Files:
        """Certify a new key for localhost and 127.0.0.1, over what the files held before.

        Without `has_address` it is for the name alone.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(
            name, key, self._name, self._key, is_authority=False, has_address=has_address
        )
        files = Files(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        for path, data in (
            (files.cert, certificate.public_bytes(Encoding.PEM)),
            (files.key, _pem_of(key)),
        ):
            fresh = path.with_suffix(".new")
            fresh.write_bytes(data)
            fresh.replace(path)
        return files


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
    has_address: bool = True,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    if has_address:
        names.append(address)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
