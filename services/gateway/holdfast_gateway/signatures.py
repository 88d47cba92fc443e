"""Signatures of webhooks: HMAC-SHA256 over the time of sending and the body.

The sender puts the seconds since the epoch into `X-Holdfast-Timestamp`, and into
`X-Holdfast-Signature` the word `sha256=` with the hexadecimal HMAC of `<timestamp>.<body>`. What is
older than the window is refused, so that nobody can send a recorded request again later; inside the
window a second one changes nothing, because the first settlement of a promise counts.
"""

import hashlib
import hmac
from http import HTTPStatus
from typing import Final

from holdfast_gateway.bodies import AnyRequest
from holdfast_gateway.errors import Problem

TIMESTAMP: Final = "X-Holdfast-Timestamp"
SIGNATURE: Final = "X-Holdfast-Signature"


def sign(secret: str, *, timestamp: str, body: bytes) -> str:
    """Return the signature of a body that is sent at a time."""
    signed = timestamp.encode() + b"." + body
    return f"sha256={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


async def check_signature(
    request: AnyRequest, secret: str, *, window_seconds: float, now: float
) -> None:
    """Raise Problem unless whoever sent the request knows the secret, and sent it just now."""
    timestamp = request.headers.get(TIMESTAMP, "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= len("99999999999")):
        raise _refused(f"{TIMESTAMP} must be the seconds since the epoch when this was sent.")
    if abs(now - int(timestamp)) > window_seconds:
        raise _refused(f"{TIMESTAMP} is more than {window_seconds:g} s away from now.")
    expected = sign(secret, timestamp=timestamp, body=await request.body())
    given = request.headers.get(SIGNATURE, "")
    if not hmac.compare_digest(expected.encode(), given.encode(errors="replace")):
        raise _refused(f"{SIGNATURE} does not fit the body, the timestamp and the secret.")


def _refused(detail: str) -> Problem:
    return Problem(status=HTTPStatus.UNAUTHORIZED, code="invalid_signature", detail=detail)
