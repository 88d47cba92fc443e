"""Signatures of webhooks, as the Standard Webhooks specification has them; the symmetric kind.

The sender puts an id of what happened into `webhook-id`, the seconds since the epoch when this was
sent into `webhook-timestamp`, and into `webhook-signature`, with spaces between, one or more of
`v1,<base64>`: the HMAC-SHA256 of `<id>.<timestamp>.<body>`. While a secret is replaced by another
the sender may sign with both, and the gateway may know both; one that fits is enough.

What is older than the window is refused, so that nobody can send a recorded request again later.
Within the window a repetition does nothing: `Deliveries` knows its id, and where another process
took the first one, the first settlement of the promise counts.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from holdfast_gateway.bodies import AnyRequest
from holdfast_gateway.errors import Problem

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what all secrets begin with
SECRET_BYTES_MIN: Final = 24  # the limits of the specification
SECRET_BYTES_MAX: Final = 64
SECRETS_MAX: Final = 8
SIGNATURES_MAX: Final = 16  # of a request; each costs a comparison with each secret
DELIVERIES_MAX: Final = 10_000

_SEEN_ID: Final = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,256}")
"""Visible ASCII without dots: with them one signed text could be read as two different requests."""
_SECONDS: Final = re.compile(r"[0-9]{1,11}")


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """Read the secrets of a setting, with commas between; raise ValueError for what is none."""
    secrets = tuple(_parse_secret(each.strip()) for each in text.split(",") if each.strip())
    if len(secrets) > SECRETS_MAX:
        msg = f"must be at most {SECRETS_MAX} secrets"
        raise ValueError(msg)
    return secrets


def _parse_secret(text: str) -> bytes:
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    fits = SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX
    if not text.startswith(SECRET_PREFIX) or not fits:
        msg = (
            f"must be {SECRET_PREFIX} and the base64 of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}"
            " random bytes, or several of these with commas between"
        )
        raise ValueError(msg)
    return secret


def sign(secret: bytes, *, webhook_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a body that is sent at a time."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


async def check_signature(
    request: AnyRequest, secrets: Sequence[bytes], *, window_seconds: float, now: float
) -> str:
    """Return the id of a request whose sender knows a secret, and sent it just now.

    Raises Problem for any other.
    """
    webhook_id = request.headers.get(ID, "")
    if not _SEEN_ID.fullmatch(webhook_id):
        raise _refused(f"{ID} must be 1 to 256 visible ASCII characters without a dot.")
    timestamp = request.headers.get(TIMESTAMP, "")
    if not _SECONDS.fullmatch(timestamp):
        raise _refused(f"{TIMESTAMP} must be the seconds since the epoch when this was sent.")
    if abs(now - int(timestamp)) > window_seconds:
        raise _refused(f"{TIMESTAMP} is more than {window_seconds:g} s away from now.")
    given = request.headers.get(SIGNATURE, "").split()
    if len(given) > SIGNATURES_MAX:
        raise _refused(f"{SIGNATURE} must hold at most {SIGNATURES_MAX} signatures.")
    body = await request.body()
    expected = [
        sign(secret, webhook_id=webhook_id, timestamp=timestamp, body=body) for secret in secrets
    ]
    if not _any_fits(given, expected):
        raise _refused(f"{SIGNATURE} holds no v1 signature that fits body, id, time and secret.")
    return webhook_id


def _any_fits(given: Sequence[str], expected: Sequence[str]) -> bool:
    """Compare all with all, in a time that tells nothing about which of them came near."""
    fits = False
    for one in given:
        for other in expected:
            fits |= hmac.compare_digest(one.encode(errors="replace"), other.encode())
    return fits


def _refused(detail: str) -> Problem:
    return Problem(status=HTTPStatus.UNAUTHORIZED, code="invalid_signature", detail=detail)


class Deliveries:
    """The ids of the webhooks that this process took lately, each for as long as it may be sent.

    It never holds more than `DELIVERIES_MAX`: the oldest go first. What it forgot, and what another
    process took, does nothing either, unless somebody deleted the promise and made it anew.
    """

    def __init__(self, *, window_seconds: float) -> None:
        self._kept_seconds = 2 * window_seconds  # the sender's clock may be ahead by a window
        self._taken: OrderedDict[str, float] = OrderedDict()

    def has(self, webhook_id: str, *, now: float) -> bool:
        """Tell whether it was taken already."""
        while self._taken and next(iter(self._taken.values())) < now - self._kept_seconds:
            self._taken.popitem(last=False)
        return webhook_id in self._taken

    def add(self, webhook_id: str, *, now: float) -> None:
        """Remember one that was taken; one that failed must be tried again."""
        self._taken.setdefault(webhook_id, now)
        if len(self._taken) > DELIVERIES_MAX:
            self._taken.popitem(last=False)
