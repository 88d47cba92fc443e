"""The order example as its users see it: over HTTP."""

import asyncio
from collections.abc import Mapping
from typing import Any, Self

import httpx

from holdfast_cli.errors import CommandFailed

LOOK_EVERY_SECONDS = 0.05
ANSWER_SECONDS_MAX = 10.0


class Orders:
    """The order routes of one gateway; whatever is not the documented answer is CommandFailed."""

    def __init__(self, gateway: str) -> None:
        self.url = f"{gateway.rstrip('/')}/orders"
        self._http = httpx.AsyncClient(timeout=ANSWER_SECONDS_MAX, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def status_url(self, order_id: str) -> str:
        """Return where the state of an order is told."""
        return f"{self.url}/{order_id}/status"

    async def place(self, order: Mapping[str, object]) -> str:
        """Place an order; return the body of the answer, which says that it was accepted."""
        response = await self._request("POST", self.url, json=order)
        if response.status_code != httpx.codes.ACCEPTED:
            raise CommandFailed(_unexpected(response))
        return response.text

    async def status(self, order_id: str) -> dict[str, Any]:
        """Return what is known of an order."""
        response = await self._request("GET", self.status_url(order_id))
        if response.status_code != httpx.codes.OK:
            raise CommandFailed(_unexpected(response))
        status: dict[str, Any] = response.json()
        return status

    async def done(self, order_id: str) -> dict[str, Any]:
        """Wait until an order is no longer processed; return its last status."""
        while True:
            status = await self.status(order_id)
            if status["status"] != "processing":
                return status
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _request(self, method: str, url: str, **content: object) -> httpx.Response:
        try:
            return await self._http.request(method, url, **content)  # type: ignore[arg-type]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            msg = f"{method} {url} got no answer: {str(error) or type(error).__name__}."
            raise CommandFailed(msg) from error


def _unexpected(response: httpx.Response) -> str:
    request = response.request
    return f"{request.method} {request.url} answered {response.status_code}: {response.text[:500]}"
