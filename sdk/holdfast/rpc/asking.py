"""Questions to whichever store answers, over plain unary calls beside the stream of operations."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import grpc

from holdfast.errors import ResonateError, ServerUnavailable
from holdfast.rpc.dialing import Dialer, Line
from holdfast.rpc.endpoints import Address
from holdfast.rpc.errors import error_of_call

ATTEMPTS_MAX: Final = 3
"""Stores that one question is put to, while each of them goes away with it."""

EACH_S_MAX: Final = 2.0
"""How long each of several stores that are asked together may take."""

_T = TypeVar("_T")


class Asking:
    """Keeps a connection to any store that answers, and finds another one when that goes away.

    Only for calls that change nothing, so that asking again does no harm.
    """

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._line: Line | None = None
        self._dialing = asyncio.Lock()

    async def ask(self, call: Callable[[Line], Awaitable[_T]]) -> _T:
        """Put a question to a store, and to another one when it is away.

        Raises the library's errors.
        """
        for left in reversed(range(ATTEMPTS_MAX)):
            line = await self.connect()
            try:
                return await call(line)
            except grpc.aio.AioRpcError as error:
                await self.turn_away(line, error)
                if not left or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise error_of_call(error, where=str(line.address)) from error
        raise AssertionError("there is at least one attempt")

    async def ask_each(self, call: Callable[[Line], Awaitable[_T]]) -> list[tuple[str, _T]]:
        """Put a question to every store that is known; answer addresses and what they said.

        Those that do not answer are left out as long as one does; raises the library's errors.
        """
        addresses = await self._dialer.addresses()
        answers = await asyncio.gather(*(self._ask_at(each, call) for each in addresses))
        told = [answer for answer in answers if not isinstance(answer, ResonateError)]
        if not told:
            raise next(answer for answer in answers if isinstance(answer, ResonateError))
        return told

    async def _ask_at(
        self, address: Address, call: Callable[[Line], Awaitable[_T]]
    ) -> tuple[str, _T] | ResonateError:
        """Ask by a connection of its own: an old one to a store that is gone takes long to fail."""
        line = self._dialer.line_to(address)
        try:
            async with asyncio.timeout(EACH_S_MAX):
                return str(address), await call(line)
        except grpc.aio.AioRpcError as error:
            return error_of_call(error, where=str(address))
        except TimeoutError:
            return ServerUnavailable(
                f"the store at {address} did not answer within {EACH_S_MAX:.0f} s"
            )
        finally:
            await line.channel.close()

    async def connect(self) -> Line:
        """Answer the connection, or find one."""
        async with self._dialing:  # those who come meanwhile share what is found
            if self._line is None:
                self._line = await self._dialer.dial()
            return self._line

    async def turn_away(self, line: Line, error: grpc.aio.AioRpcError) -> None:
        """Leave a store that an error says is away."""
        if error.code() is grpc.StatusCode.UNAVAILABLE and self._line is line:
            await self.close()

    async def close(self) -> None:
        """Disconnect; calls under way fail."""
        line, self._line = self._line, None
        if line is not None:
            await line.channel.close()
