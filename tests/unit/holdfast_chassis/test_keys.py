"""Public keys: which are read, and which algorithms count with them."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from holdfast_chassis.keys import BadKeys, read_keys
from tests.issuing import Issuer, ec_issuer, ed25519_issuer, jwks, rsa_issuer

RSA = rsa_issuer()
P256 = ec_issuer(ec.SECP256R1(), "ES256")
P384 = ec_issuer(ec.SECP384R1(), "ES384")
P521 = ec_issuer(ec.SECP521R1(), "ES512")
ED = ed25519_issuer()

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


@pytest.mark.parametrize(
    ("issuer", "algorithms"),
    [(RSA, _RSA), (P256, ("ES256",)), (P384, ("ES384",)), (ED, ("EdDSA",))],
    ids=["rsa", "p256", "p384", "ed25519"],
)
def test_the_type_of_a_key_decides_its_algorithms(
    issuer: Issuer, algorithms: tuple[str, ...]
) -> None:
    for data in (issuer.pem, jwks(issuer.jwk())):
        (key,) = read_keys(data).keys

        assert key.algorithms == algorithms


def test_a_file_may_hold_several_keys() -> None:
    assert len(read_keys(RSA.pem + b"\n# the next one\n" + ED.pem).keys) == 2


def test_the_algorithm_of_an_entry_narrows_it() -> None:
    (key,) = read_keys(jwks(RSA.jwk(alg="PS256"))).keys

    assert key.algorithms == ("PS256",)


def test_entries_that_are_for_something_else_are_passed_over() -> None:
    found = read_keys(
        jwks(RSA.jwk(use="enc"), P521.jwk(), RSA.jwk(alg="RSA-OAEP"), {"kty": "?"}, ED.jwk())
    )

    assert [key.algorithms for key in found.keys] == [("EdDSA",)]


def _private_pem(issuer: Issuer) -> bytes:
    data = issuer.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "must hold public keys"),
        (b"not a key", "must hold public keys"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no public key"),
        (_private_pem(ED), "private key"),
        (P521.pem, "P-256 or P-384"),
        (rsa_issuer(1_024).pem, "at least 2048 bits"),
        (b"{", "no JSON"),
        (b'{"keys": 1}', "a list"),
        (b'{"keys": []}', "hold a key"),
        (b'{"keys": [1]}', "an object"),
        (jwks({"kty": "oct", "k": "c2VjcmV0"}), "secret key"),
        (jwks(ED.jwk(d="c2VjcmV0")), "secret key"),
        (jwks(ED.jwk(alg="RS256")), "'RS256'"),
        (jwks(*[ED.jwk()] * 65), "at most 64"),
    ],
)
def test_what_is_no_public_key_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(BadKeys, match=why):
        read_keys(data)


def test_a_token_that_names_a_key_is_tried_with_that_one_alone() -> None:
    one, other = ed25519_issuer("1"), ed25519_issuer("2")
    keys = read_keys(jwks(one.jwk(), other.jwk()))

    assert [key.kid for key in keys.fitting(kid="2", algorithm="EdDSA")] == ["2"]
    assert len(keys.fitting(kid=None, algorithm="EdDSA")) == 2
    assert keys.fitting(kid="3", algorithm="EdDSA") == []
    assert keys.fitting(kid="1", algorithm="HS256") == []
    assert not keys.knows("3")
