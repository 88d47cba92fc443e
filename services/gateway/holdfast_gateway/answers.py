"""How the answers of the applications look: for the OpenAPI document, as examples by status.

The applications answer as the originals that they are modeled on, with plain objects that name what
they are in `status`; the routes write those down where they make them, so that they can be read
there. A test holds the two together.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from holdfast_gateway.examples import JOB_ID, PARAMETERS

Answers = Mapping[int, object]
_REPORT_ID: Final = str(PARAMETERS["report_id"])


class Refusal(msgspec.Struct):
    """A refusal in the words of the originals."""

    error: str


class Unknown(msgspec.Struct):
    """There is nothing by that name."""

    status: Literal["not_found"]


class UnderWay(msgspec.Struct):
    """It has not ended."""

    status: Literal["processing", "pending"]


class Ended(msgspec.Struct):
    """It has ended, and this is what it returned."""

    status: Literal["done"]
    result: Any


class Failed(msgspec.Struct):
    """It was rejected, canceled, or ran out of time."""

    status: Literal["rejected"]
    error: str


def _standing(result: object, *, under_way: Literal["processing", "pending"]) -> Answers:
    """Return the ways in which a workflow of an application may stand."""
    known = [UnderWay(under_way), Ended("done", result), Failed("rejected", "timed out")]
    return {200: known, 404: Unknown("not_found")}


class OrderAccepted(msgspec.Struct, rename="camel"):
    """An order that is stored, and where to ask how it is getting on."""

    status: Literal["accepted"]
    order_id: str
    status_url: str


ORDER_ACCEPTED: Final[Answers] = {
    202: OrderAccepted("accepted", "ord-schema-1", "/orders/ord-schema-1/status"),
    400: Refusal("Missing required order fields"),
}
ORDER_STATUS: Final = _standing({"orderId": "ord-schema-1"}, under_way="processing")


class Started(msgspec.Struct):
    """What is stored, by its id."""

    id: str


REPORT_STARTED: Final[Answers] = {200: Started(_REPORT_ID)}
REPORT_STATUS: Final = _standing({"id": _REPORT_ID}, under_way="processing")
REPORT_FILE: Final[Answers] = {200: "sku,qty,revenue\r\nmug,2,59.98\r\n"}


class Begun(msgspec.Struct):
    """A promise that is stored, and where to ask for its end."""

    promise: str
    status: Literal["pending"]
    wait: str


class Waiting(msgspec.Struct):
    """The promise is pending."""

    status: Literal["pending"]
    promise_id: str
    message: str


class Resolved(msgspec.Struct):
    """The promise is resolved, with this value."""

    status: Literal["resolved"]
    promise_id: str
    result: Any


class Rejected(msgspec.Struct):
    """The promise was rejected, canceled, or ran out of time."""

    status: Literal["rejected"]
    promise_id: str
    error: str


BEGUN: Final[Answers] = {200: Begun("one", "pending", "/wait?id=one")}
WAITED: Final[Answers] = {
    200: [
        Waiting("pending", "one", "Processing in progress"),
        Resolved("resolved", "one", {"n": 1}),
        Rejected("rejected", "one", "timed out"),
    ],
    400: Refusal("id query parameter is required"),
    404: Refusal("one not found"),
}


class Bought(msgspec.Struct):
    """A purchase that is stored; its window is open."""

    status: Literal["pending"]
    key: str


class Canceled(msgspec.Struct):
    """The request was taken; the status tells how the purchase ended."""

    status: Literal["ok"]


BOUGHT: Final[Answers] = {200: Bought("pending", "buy-1")}
CANCELED: Final[Answers] = {200: Canceled("ok")}
PURCHASE_STATUS: Final = _standing({"state": "ordered", "orderId": "o-1"}, under_way="pending")


class JobUnknown(Unknown):
    """There is no such job."""

    id: str


class JobUnderWay(UnderWay):
    """The job has not ended."""

    id: str


class JobEnded(Ended):
    """The job has ended, and this is what it returned."""

    id: str


class JobFailed(Failed):
    """The job was rejected, canceled, or ran out of time."""

    id: str


JOB_STARTED: Final[Answers] = {202: Started(JOB_ID)}
JOB_STATUS: Final[Answers] = {
    200: [
        JobUnderWay("processing", JOB_ID),
        JobEnded("done", {"status": "done", "result": {"score": 42}}, JOB_ID),
        JobFailed("rejected", "rejected", JOB_ID),
    ],
    404: JobUnknown("not_found", JOB_ID),
}
