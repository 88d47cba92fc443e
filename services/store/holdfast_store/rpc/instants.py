"""Instants that callers name: metadata of a call, looked at in debug mode only (§6.2)."""

from collections.abc import Awaitable, Callable
from typing import Final

from holdfast.core.limits import INTEGER_MAX
from holdfast.core.requests import Refusal
from holdfast_store.rpc.errors import Context, abort

METADATA_KEY: Final = "holdfast-debug-time"

Instant = Callable[[Context], Awaitable[int | None]]


async def told_instant(context: Context) -> int | None:
    """Answer the instant that a call names, or `None`; a call that names none well is refused."""
    texts = [value for key, value in context.invocation_metadata() or () if key == METADATA_KEY]
    if not texts:
        return None
    at_ms = None if len(texts) > 1 else parse_instant(texts[0])
    if at_ms is None:
        shown = " and ".join(repr(text)[:32] for text in texts)
        message = (
            f"the metadata {METADATA_KEY} must be one number of milliseconds from 0 to"
            f" {INTEGER_MAX} in decimal digits, it is {shown}"
        )
        await abort(context, Refusal(status=400, code="invalid_debug_time", message=message))
    return at_ms


def parse_instant(text: str | bytes) -> int | None:
    """Read an instant: digits only, so that signs, fractions and exponents are none."""
    # The length comes first: Python refuses to read an integer of thousands of digits.
    if isinstance(text, bytes) or len(text) > len(str(INTEGER_MAX)):
        return None
    if not (text.isascii() and text.isdigit()) or int(text) > INTEGER_MAX:
        return None
    return int(text)
