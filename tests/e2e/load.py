"""Orders that keep coming, and the list of those that were acknowledged."""

import threading
import time
import uuid
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from tests.e2e.client import TOTAL, Gateway, GatewayAway
from tests.e2e.waiting import until

SUBMITTERS: Final = 4
PAUSE_S: Final = 0.5


class Load:
    """Places orders through REST until it is told to stop.

    An order counts once its 202 has arrived. One whose answer was lost is placed again with the
    same id until it is acknowledged, so that at the end only orders of the last moment are open.
    """

    def __init__(self, gateway: Gateway, *, per_second: float) -> None:
        self._gateway = gateway
        self._pause_s = SUBMITTERS / per_second
        self._prefix = f"load-{uuid.uuid4().hex[:6]}"
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._submit, args=(n,), daemon=True) for n in range(SUBMITTERS)
        ]
        self._acknowledged: list[str] = []
        self._gap_s = 0.0
        self._last_at = 0.0
        self._errors: list[str] = []

    def __enter__(self) -> Self:
        self._last_at = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=200)
        assert not any(thread.is_alive() for thread in self._threads), "a submitter hangs"
        if error is None:
            assert not self._errors, self._errors

    @property
    def acknowledged(self) -> list[str]:
        """Ids of the orders whose 202 arrived so far."""
        with self._lock:
            return list(self._acknowledged)

    @property
    def longest_gap_s(self) -> float:
        """The longest time in which no order was acknowledged."""
        return self._gap_s

    def wait_for(self, more: int, *, seconds: float = 180) -> None:
        """Return when so many more orders were acknowledged."""
        wanted = len(self.acknowledged) + more
        until(
            lambda: len(self.acknowledged) >= wanted or self._errors,
            f"{more} more orders are acknowledged",
            seconds=seconds,
        )
        assert not self._errors, self._errors

    def _submit(self, number: int) -> None:
        count = 0
        while not self._stopping.is_set():
            order_id = f"{self._prefix}-{number}-{count}"
            count += 1
            try:
                answer = self._gateway.post_order(order_id)
            except GatewayAway as error:
                self._errors.append(f"{order_id}: {error}")
                return
            if answer.status_code != 202:
                self._errors.append(f"{order_id}: {answer.status_code} {answer.text}")
                return
            self._acknowledge(order_id)
            self._stopping.wait(self._pause_s)

    def _acknowledge(self, order_id: str) -> None:
        with self._lock:
            now = time.monotonic()
            self._gap_s = max(self._gap_s, now - self._last_at)
            self._last_at = now
            self._acknowledged.append(order_id)


def unfinished(gateway: Gateway, order_ids: Iterable[str], *, seconds: float) -> dict[str, object]:
    """Wait until the orders are done; return those that are not, with what is known of them."""
    deadline = time.monotonic() + seconds
    left: dict[str, object] = dict.fromkeys(order_ids)
    while left:
        for order_id in list(left):
            status = gateway.order_status(order_id)
            left[order_id] = status
            if status == {"code": 200, "status": "done", "result": expected(order_id)}:
                del left[order_id]
        may_change = any("processing" in str(status) for status in left.values())
        if not may_change or time.monotonic() > deadline:
            break
        time.sleep(PAUSE_S)
    return left


def expected(order_id: str) -> dict[str, object]:
    """The result of an order that nothing disturbed."""
    return {
        "orderId": order_id,
        "inventoryReserved": True,
        "paymentCharged": True,
        "confirmationSent": True,
        "total": TOTAL,
    }
