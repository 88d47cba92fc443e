"""Signatures of webhooks, their secrets, and the memory of what was delivered."""

import base64

import pytest

from holdfast_gateway.signatures import DELIVERIES_MAX, Deliveries, parse_secrets, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_signature_is_that_of_the_specification() -> None:
    """The libraries of Standard Webhooks all test this one."""
    [secret] = parse_secrets(SECRET)

    signature = sign(
        secret,
        webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp="1614265330",
        body=b'{"test": 2432232314}',
    )

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_several_secrets_are_separated_by_commas() -> None:
    other = "whsec_" + base64.b64encode(b"o" * 64).decode()

    secrets = parse_secrets(f" {SECRET}, {other},")

    assert [len(each) for each in secrets] == [24, 64]
    assert parse_secrets("") == ()


@pytest.mark.parametrize(
    "text",
    [
        "a secret",
        SECRET.removeprefix("whsec_"),
        "whsec_*",
        "whsec_" + base64.b64encode(b"s" * 23).decode(),
        "whsec_" + base64.b64encode(b"s" * 65).decode(),
        f"{SECRET} {SECRET}",
        ",".join([SECRET] * 9),
    ],
)
def test_what_is_no_secret_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="must be") as refused:
        parse_secrets(text)

    assert text not in str(refused.value)


def test_a_delivery_is_known_for_as_long_as_it_may_be_sent_again() -> None:
    deliveries = Deliveries(window_seconds=300)

    deliveries.add("msg_1", now=1_000)

    assert deliveries.has("msg_1", now=1_600)
    assert not deliveries.has("msg_2", now=1_600)
    assert not deliveries.has("msg_1", now=1_601)


def test_the_memory_of_deliveries_is_bounded() -> None:
    deliveries = Deliveries(window_seconds=300)

    for number in range(DELIVERIES_MAX + 1):
        deliveries.add(f"msg_{number}", now=1_000)

    assert not deliveries.has("msg_0", now=1_000)
    assert deliveries.has("msg_1", now=1_000)
    assert deliveries.has(f"msg_{DELIVERIES_MAX}", now=1_000)
