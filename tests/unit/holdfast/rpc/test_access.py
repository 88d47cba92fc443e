"""Who a client says it is: tokens and files."""

from pathlib import Path

import pytest

from holdfast.errors import ServerUnavailable, Unauthenticated
from holdfast.rpc.access import ANONYMOUS, Access, access_of
from holdfast.settings import read_environment


def test_a_token_becomes_a_bearer_header() -> None:
    assert Access(token="t").metadata() == (("authorization", "Bearer t"),)
    assert ANONYMOUS.metadata() == ()


def test_a_token_file_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    access = Access(token_file=str(file))

    file.write_text("first\n")
    first = access.metadata()
    file.write_text("second")

    assert first == (("authorization", "Bearer first"),)
    assert access.metadata() == (("authorization", "Bearer second"),)


@pytest.mark.parametrize("content", [None, b"", b"\n", b"two\nlines", b"\xff\xfe", b"a" * 20_000])
def test_a_token_file_that_holds_none_says_which_one(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(Unauthenticated, match=str(file)) as caught:
        Access(token_file=str(file)).metadata()

    assert caught.value.code == "token_unreadable"


def test_a_token_and_its_file_are_not_given_together() -> None:
    with pytest.raises(ValueError, match="give one of them"):
        Access(token="t", token_file="f")


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ValueError, match="together"):
        Access(cert_file="c")


def test_a_missing_file_of_tls_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"

    with pytest.raises(ServerUnavailable, match=str(missing)):
        Access(ca_file=str(missing)).credentials()
    with pytest.raises(ValueError, match=str(missing)):
        Access(ca_file=str(missing)).check()


def test_a_token_that_is_given_replaces_those_of_the_environment() -> None:
    environment = read_environment({"RESONATE_TOKEN_FILE": "/f", "RESONATE_TLS_CA": "/ca"})

    assert access_of(environment) == Access(token_file="/f", ca_file="/ca")
    assert access_of(environment, token="t") == Access(token="t", ca_file="/ca")
