"""What clients are sent by themselves (§4.2). Pure."""

from holdfast.core.membership import TaskOffer
from holdfast.core.records import Promise
from holdfast_gateway.bridge.envelope import written
from holdfast_gateway.bridge.records import promise_json

EXECUTE = "execute"
UNBLOCK = "unblock"

KEEP_ALIVE = b":\n\n"
"""A comment, which clients pass over; it shows a proxy, and us, that the connection lives."""


def execute(offer: TaskOffer, *, server_url: str) -> bytes:
    """Write the message that a task waits for whoever acquires it."""
    task = {"id": offer.id, "version": offer.version}
    return written({"kind": EXECUTE, "head": {"serverUrl": server_url}, "data": {"task": task}})


def unblock(promise: Promise) -> bytes:
    """Write the message that a promise is settled."""
    return written({"kind": UNBLOCK, "head": {}, "data": {"promise": promise_json(promise)}})


def event(message: bytes) -> bytes:
    """Write a message as a server-sent event: one line, and a blank one; LF only (§4.5)."""
    return b"data: " + message + b"\n\n"
