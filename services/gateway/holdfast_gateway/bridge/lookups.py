"""Which addresses a host name stands for: looked up in threads of its own, a few at a time.

Asking the system for a name cannot be cancelled, and may take a minute when a name server is away.
In the loop's own pool such questions would keep everything else waiting that is done there, and the
process from ending.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Final

LOOKUPS_MAX: Final = 16

Resolve = Callable[[str], list[str]]
"""Answers the addresses of a host; it may take its time, and raises `OSError` or `UnicodeError`."""


def resolve(host: str) -> list[str]:
    """Ask the system."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]).partition("%")[0] for each in found))


class Lookups:
    """Invariant: at most `most` threads, and never two for one host."""

    def __init__(self, resolve: Resolve = resolve, *, most: int = LOOKUPS_MAX) -> None:
        self._resolve = resolve
        self._free = asyncio.Semaphore(most)
        self._running: dict[str, asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str) -> list[str]:
        """Answer the addresses of a host; whoever waits no longer does not stop the lookup.

        Raises `OSError` or `UnicodeError`.
        """
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host.partition("%")[0]))]  # nothing to ask for
        if host not in self._running:
            await self._free.acquire()
            if host in self._running:  # somebody else has begun meanwhile
                self._free.release()
        return list(await asyncio.shield(self._running.get(host) or self._begin(host)))

    def _begin(self, host: str) -> "asyncio.Future[list[str]]":
        loop = asyncio.get_running_loop()
        running = self._running[host] = loop.create_future()
        running.add_done_callback(_retrieved)

        def ended(addresses: list[str], error: Exception | None) -> None:
            del self._running[host]
            self._free.release()
            if error is None:
                running.set_result(addresses)
            else:
                running.set_exception(error)

        def work() -> None:
            addresses: list[str] = []
            error: Exception | None = None
            try:
                addresses = self._resolve(host)
            except Exception as failure:  # noqa: BLE001 - raised again where it is awaited
                error = failure
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(ended, addresses, error)

        try:
            # A daemon: a name server that does not answer must not keep the process from ending.
            threading.Thread(target=work, name="push-lookup", daemon=True).start()
        except RuntimeError as error:  # the system lets us have no more threads
            ended([], OSError(str(error)))
        return running


def _retrieved(running: "asyncio.Future[list[str]]") -> None:
    """Look at the error, so that nobody complains if all who waited have left."""
    if not running.cancelled():
        running.exception()
