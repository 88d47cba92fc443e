import pytest

from holdfast_chassis.listen import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:50051", Address("127.0.0.1", 50_051)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65_535)),
    ],
)
def test_an_address_reads_back_as_it_was_written(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "localhost", ":80", "[]:80", "::1:80", "host:", "host:65536", "host:-1", "host:八"]
)
def test_a_bad_address_says_what_it_must_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be host:port with a port from 0 to 65535"):
        Address.parse(text)
