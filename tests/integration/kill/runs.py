"""The two applications as tests play them, and what must be true of every run of theirs."""

import asyncio
import itertools
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import httpx

from holdfast import Resonate
from tests.integration.kill.processes import DEADLINE_S, until
from tests.integration.kill.system import System
from tests.integration.kill.workflows import LADDER, RUNGS

_numbers = itertools.count(1)

JOB_KEYS: Final = uuid.UUID("5d0c53c6-2f0e-4d4b-8f0b-6d6a0a4ad8c7")
"""The gateway's namespace of idempotency keys; keys in use bind it to this value."""


class Run(Protocol):
    """One use of an application, from its first request to its evidence."""

    @property
    def steps(self) -> Sequence[str]:
        """Names under which bodies are journalled; each runs once in an undisturbed run."""

    is_accepted: bool
    """Whether the run was accepted."""

    @property
    def promise_id(self) -> str:
        """The id of the run's promise, known before it is asked for."""

    def try_begin(self) -> bool:
        """Ask for the run once; answer whether it was accepted."""

    def begin(self) -> None:
        """Ask for the run until it is accepted."""

    def play(self) -> None:
        """Do what people do, until the run is done and its result is the right one."""

    def assert_effects(self) -> None:
        """Every effect with a key is there exactly once."""


class OrderRun:
    """An order."""

    steps = (
        "validateOrder",
        "reserveInventory",
        "chargePayment",
        "db.recordCharge",
        "sendConfirmation",
    )

    def __init__(self, system: System) -> None:
        self._system = system
        self.order_id = f"ord-{next(_numbers)}"
        self.is_accepted = False
        self.body = {
            "id": self.order_id,
            "items": [
                {"sku": "mug", "qty": 2, "price": 2999},
                {"sku": "pen", "qty": 1, "price": 999},
            ],
            "customer": {"id": "c-1", "email": "ada@example.com"},
        }

    @property
    def promise_id(self) -> str:
        """The id that the order's own makes."""
        return f"order/{self.order_id}"

    def try_begin(self) -> bool:
        """Post the order once."""
        self.is_accepted = self._system.try_post("/orders", self.body) is not None
        return self.is_accepted

    def begin(self) -> None:
        """Post the order until it is accepted."""
        until(self.try_begin, f"{self.promise_id} was accepted")

    def status(self) -> dict[str, Any] | None:
        """Ask for the status once."""
        return self._system.get(f"/orders/{self.order_id}/status")

    def play(self) -> None:
        """Wait for the result."""
        status = until(lambda: _settled(self.status()), f"order {self.order_id} was done")
        assert status == {
            "status": "done",
            "result": {
                "orderId": self.order_id,
                "inventoryReserved": True,
                "paymentCharged": True,
                "confirmationSent": True,
                "total": 6997,
            },
        }

    def assert_effects(self) -> None:
        """One reservation, one charge."""
        assert self._system.books.reservations(self.order_id) == [(2,)]
        assert [total for _, total in self._system.books.charges(self.order_id)] == [6997]


class JobRun:
    """A job, approved as soon as it waits for its approval."""

    steps = ("db.getAccount", "processAccount", "db.saveResult")

    def __init__(self, system: System) -> None:
        self._system = system
        self._key = str(uuid.uuid4())
        self.is_accepted = False

    @property
    def promise_id(self) -> str:
        """The id that the idempotency key makes."""
        return f"job/{uuid.uuid5(JOB_KEYS, f'process-job/{self._key}')}"

    def try_begin(self) -> bool:
        """Post the job once."""
        accepted = self._system.try_post("/jobs", {"accountId": "acct-7"}, key=self._key)
        assert accepted in (None, {"id": self.promise_id})
        self.is_accepted = accepted is not None
        return self.is_accepted

    def begin(self) -> None:
        """Post the job until it is accepted."""
        until(self.try_begin, f"{self.promise_id} was accepted")

    def status(self) -> dict[str, Any] | None:
        """Ask for the status once."""
        return self._system.get(f"/jobs/{self.promise_id}")

    def wait_for_approval(self) -> None:
        """Return when the job waits for a person."""
        approval = f"approve/{self.promise_id}"
        states = self._system.store_file.states
        until(lambda: states(approval) == {approval: "pending"}, "the job waits for its approval")

    def approve(self) -> None:
        """Approve until the answer says that it is done; a job that does not wait yet is a 404."""
        until(self._try_approve, f"{self.promise_id} was approved")

    def _try_approve(self) -> bool:
        body = {"promiseId": f"approve/{self.promise_id}", "approved": True}
        try:
            answer = self._system.client.post("/webhooks/approval", json=body)
        except httpx.TransportError:
            return False
        assert answer.status_code in (204, 404, 503), answer.text
        return answer.status_code == 204

    def play(self) -> None:
        """Approve, and wait for the result."""
        self.approve()
        status = until(lambda: _settled(self.status()), f"{self.promise_id} was done")
        assert status["status"] == "done", status
        result = status["result"]["result"]
        assert result["accountId"] == "acct-7"
        # What was saved is what was returned, chance and clock included: a replay sees the same.
        assert self._system.books.results(self.promise_id) == [result]

    def assert_effects(self) -> None:
        """One saved result."""
        assert len(self._system.books.results(self.promise_id)) == 1


class LadderRun:
    """Steps in a row, started by a client of the store."""

    steps = RUNGS

    def __init__(self, system: System) -> None:
        self._system = system
        self.promise_id = f"ladder/{next(_numbers)}"
        self.is_accepted = False

    def try_begin(self) -> bool:
        """Create the promise once."""
        asyncio.run(self._call())
        self.is_accepted = True
        return True

    def begin(self) -> None:
        """Create the promise."""
        self.try_begin()

    def play(self) -> None:
        """Wait for the result."""
        assert asyncio.run(self._call()) == len(RUNGS)

    async def _call(self) -> int | None:
        async with Resonate(self._system.store_url, group="test") as client:
            options = client.options(target="workers")
            handle = await client.begin_rpc(self.promise_id, LADDER, options)
            if not self.is_accepted:
                return None
            async with asyncio.timeout(DEADLINE_S):
                height: int = await handle.result()
                return height

    def assert_effects(self) -> None:
        """Nothing is left but the journal."""


APPS: Final[Mapping[str, Callable[[System], Run]]] = {"orders": OrderRun, "jobs": JobRun}
"""What ships, by name."""


def _settled(status: dict[str, Any] | None) -> dict[str, Any] | None:
    return status if status is not None and status["status"] in ("done", "rejected") else None
