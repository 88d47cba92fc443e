"""Clients that ask for everything at once, and write down what they are told."""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final, TypeVar

from holdfast import Resonate
from holdfast.errors import PromiseCanceled, PromiseNotFound, ResonateError
from holdfast.handle import Handle
from tests.chaos import workflows
from tests.chaos.ledger import Ledger, Record, Run

T = TypeVar("T")

PLAYERS: Final = 10
"""Runs at once; each player waits for the end of one before it begins the next."""

PAUSE_S: Final = 0.05
"""Between two runs of a player: the machine is to be busy, not choked."""

IMPATIENCE_S: Final = 0.5
"""After so long the clients that write records give up, so that some writes are never answered."""

TOTAL: Final = 6997


class Load(threading.Thread):
    """Plays until it is told to end, on a thread of its own: the main one starts processes."""

    def __init__(self, url: str, ledger: Ledger, *, seed: int) -> None:
        super().__init__(name="load", daemon=True)  # a trial that breaks leaves it behind
        self._url = url
        self._ledger = ledger
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self._numbers = count(1)
        self._plays: list[Callable[[Resonate, int], Awaitable[None]]] = [
            *[self._order] * 4,
            *[self._fan] * 2,
            *[self._nap] * 2,
            *[self._approval] * 2,
            self._doomed,
        ]
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Play; what goes wrong is kept for whoever waits."""
        try:
            asyncio.run(self._play())
        except BaseException as failure:  # noqa: BLE001 - it is raised by `finish`
            self.failure = failure

    def finish(self, within_s: float) -> None:
        """Begin nothing more, and wait for the end of everything; raise what went wrong."""
        self._ending.set()
        self.join(within_s)
        if self.failure is not None:
            raise self.failure

    async def _play(self) -> None:
        async with (
            Resonate(self._url, group="chaos") as client,
            Resonate(self._url, group="chaos", timeout=IMPATIENCE_S) as impatient,
            asyncio.TaskGroup() as players,
        ):
            for _ in range(PLAYERS):
                players.create_task(self._run_player(client))
            for _ in range(2):
                players.create_task(self._run_writer(impatient))

    async def _run_player(self, client: Resonate) -> None:
        while not self._ending.is_set():
            play = self._random.choice(self._plays)
            number = next(self._numbers)
            try:
                await play(client, number)
            except Exception as error:  # noqa: BLE001 - a finding among others, with its number
                self._ledger.wrong.append(f"the run with number {number} ended with {error!r}")
            await asyncio.sleep(PAUSE_S)

    # Workflows

    async def _order(self, client: Resonate, number: int) -> None:
        order = {
            "id": f"ord-{number}",
            "items": [
                {"sku": "mug", "qty": 2, "price": 2999},
                {"sku": "pen", "qty": 1, "price": 999},
            ],
            "customer": {"id": "c-1", "email": "ada@example.com"},
        }
        expected = {
            "orderId": f"ord-{number}",
            "inventoryReserved": True,
            "paymentCharged": True,
            "confirmationSent": True,
            "total": TOTAL,
        }
        run = self._run("order", f"order/ord-{number}")
        await self._end(run, await self._begin(client, run, "processOrder", order), expected)

    async def _fan(self, client: Resonate, number: int) -> None:
        run = self._run("fan", f"fan/{number}")
        handle = await self._begin(client, run, workflows.FAN, number)
        await self._end(run, handle, workflows.sum_of_fan(number))

    async def _nap(self, client: Resonate, number: int) -> None:
        milliseconds = self._random.randint(50, 2_000)
        run = self._run("nap", f"nap/{number}")
        handle = await self._begin(client, run, workflows.NAP, milliseconds)
        await self._end(run, handle, 2 * milliseconds + 1)

    async def _approval(self, client: Resonate, number: int) -> None:
        run = self._run("approval", f"approval/{number}")
        asked = f"approve/{number}"
        handle = await self._begin(client, run, workflows.APPROVAL, asked)

        async def approve() -> None:
            while True:
                try:
                    await client.promises.resolve(asked, f"yes {number}")
                except PromiseNotFound:
                    await asyncio.sleep(PAUSE_S)  # the workflow has not come so far
                else:
                    return

        await self._persist(approve)
        await self._end(run, handle, f"yes {number}")

    async def _doomed(self, client: Resonate, number: int) -> None:
        run = self._run("canceled", f"doomed/{number}")
        handle = await self._begin(client, run, workflows.DOOMED, number)
        await asyncio.sleep(self._random.uniform(0, 0.5))
        if not await self._persist(handle.cancel):
            self._ledger.wrong.append(f"{run.promise_id} was not canceled and cannot have ended")
        try:
            await self._persist(handle.result)
        except PromiseCanceled:
            run.is_over = True
        else:
            self._ledger.wrong.append(f"{run.promise_id} was canceled and has a result")

    def _run(self, kind: str, promise_id: str) -> Run:
        run = Run(kind, promise_id)
        self._ledger.runs.append(run)
        return run

    async def _begin(
        self, client: Resonate, run: Run, function: str, *arguments: object
    ) -> Handle[Any]:
        options = client.options(target=workflows.WORKERS)

        async def begin() -> Handle[Any]:
            return await client.begin_rpc(run.promise_id, function, *arguments, options)

        handle = await self._persist(begin)
        run.begun = True
        return handle

    async def _end(self, run: Run, handle: Handle[Any], expected: object) -> None:
        run.told = await self._persist(handle.result)
        run.is_over = True
        if run.told != expected:
            self._ledger.wrong.append(f"{run.promise_id} is {run.told!r}, not {expected!r}")

    async def _persist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer."""
        while True:
            try:
                return await ask()
            except ResonateError as error:
                if not error.retriable:
                    raise
                self._ledger.repeated += 1
                await asyncio.sleep(PAUSE_S)

    # Records

    async def _run_writer(self, client: Resonate) -> None:
        """Make promises and settle each of them twice at once; nothing is asked for again."""
        while not self._ending.is_set():
            number = next(self._numbers)
            record = Record(f"record/{number}", param=f"param {number}")
            self._ledger.records.append(record)
            try:
                made = await client.promises.create(record.promise_id, data=record.param)
                record.created = True
                if made.param != record.param:
                    self._ledger.wrong.append(f"{record.promise_id} holds {made.param!r}")
            except ResonateError as error:
                self._not_answered(error)
            values = (f"one {number}", f"two {number}")
            record.values += values
            await asyncio.gather(*(self._resolve(client, record, value) for value in values))
            await asyncio.sleep(PAUSE_S)

    async def _resolve(self, client: Resonate, record: Record, value: str) -> None:
        try:
            settled = await client.promises.resolve(record.promise_id, value)
        except PromiseNotFound:
            if record.created:
                self._ledger.wrong.append(f"{record.promise_id} was acknowledged and is missing")
        except ResonateError as error:
            self._not_answered(error)
        else:
            record.told.add(str(settled.value))

    def _not_answered(self, error: ResonateError) -> None:
        if not error.retriable:
            raise error
        self._ledger.unanswered += 1
