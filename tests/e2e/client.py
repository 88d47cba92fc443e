"""The REST client of the end-to-end checks: it asks again when the gateway was away.

Asking again is safe for everything here: an order is known by its id, a job by its idempotency key,
an approval counts once. The image `holdfast-e2e` has this module as well, so it imports nothing
that only tests have.
"""

import time
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

REQUEST_S: Final = 10.0
PAUSE_S: Final = 0.3
AWAY: Final = {
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
ITEMS: Final = [
    {"sku": "widget", "qty": 2, "price": 2999},
    {"sku": "gadget", "qty": 1, "price": 999},
]
TOTAL: Final = 6997


class GatewayAway(Exception):
    """The gateway did not answer for as long as the caller was ready to ask."""


class Gateway:
    """REST of one gateway; usable from several threads."""

    def __init__(
        self,
        address: Callable[[], str],
        *,
        patience_s: float = 120,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        """Ask at `address()`, which may change; `on_trouble` is called after each failed try."""
        self._address = address
        self._patience_s = patience_s
        self._on_trouble = on_trouble
        self._http = httpx.Client(timeout=REQUEST_S, limits=httpx.Limits(keepalive_expiry=5))
        self.tries_failed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    def post_order(self, order_id: str, **members: Any) -> httpx.Response:
        """Place an order; the answer 202 acknowledges it."""
        customer = {"id": "cus-1", "email": "ada@example.com"}
        order = {"id": order_id, "items": ITEMS, "customer": customer, **members}
        return self.request("POST", "/orders", json=order)

    def order_status(self, order_id: str) -> dict[str, Any]:
        """How an order is getting on."""
        answer = self.request("GET", f"/orders/{quote(order_id, safe='')}/status")
        return {"code": answer.status_code, **answer.json()}

    def start_job(self, *, account: str, key: str) -> str:
        """Start a job; return its id. The same key is the same job."""
        headers = {"Idempotency-Key": key}
        answer = self.request("POST", "/jobs", json={"accountId": account}, headers=headers)
        answer.raise_for_status()
        job_id: str = answer.json()["id"]
        return job_id

    def job_status(self, job_id: str, *, wait_s: float = 0) -> dict[str, Any]:
        """How a job is getting on; with `wait_s` the answer may take that long."""
        answer = self.request("GET", f"/jobs/{job_id}", params={"wait": wait_s})
        return {"code": answer.status_code, **answer.json()}

    def approve(self, job_id: str, *, approved: bool = True) -> httpx.Response:
        """Answer a job that waits for a person."""
        body = {"promiseId": f"approve/{job_id}", "approved": approved}
        return self.request("POST", "/webhooks/approval", json=body)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask until there is an answer that is not about the gateway or the store being away."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                answer = self._http.request(method, self._address() + path, **options)
            except httpx.TransportError as error:
                trouble = f"{type(error).__name__}: {error}"
            else:
                if answer.status_code not in AWAY:
                    return answer
                trouble = f"{answer.status_code}: {answer.text[:200]}"
            self.tries_failed += 1
            if time.monotonic() > deadline:
                raise GatewayAway(f"{method} {path}: {trouble}")
            self._on_trouble()
            time.sleep(PAUSE_S)
