"""Verify a running Holdfast from inside its cluster: what the image `holdfast-e2e` runs.

    GATEWAY_URL=http://holdfast-gateway:8000 STORE_URL=grpc://holdfast-store:50051 \
        python -m tests.e2e.verify

An order and a job with an approval are played through REST, then the store is asked for its queues.
What was seen is printed, one line for each check; the exit code is 0 when all of them held, 1 when
one did not, 2 when an address is missing.
"""

import asyncio
import os
import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from holdfast.errors import ResonateError
from holdfast.rpc.admin import Admin, Queue
from tests.e2e.client import TOTAL, Gateway, GatewayAway
from tests.e2e.waiting import until

ACCOUNT: Final = "acct-1"
PATIENCE_S: Final = 120.0
GROUPS: Final = ("workers", "db")


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Verify what the environment names; return the exit code."""
    missing = [name for name in ("GATEWAY_URL", "STORE_URL") if not environ.get(name)]
    if missing:
        sys.stderr.write(f"verify: set {' and '.join(missing)}\n")
        return 2
    gateway_url, store_url = environ["GATEWAY_URL"].rstrip("/"), environ["STORE_URL"]
    _say(f"verify: gateway {gateway_url}, store {store_url}")
    with Gateway(lambda: gateway_url, patience_s=PATIENCE_S) as gateway:
        held = [
            _held("an order is done once", lambda: an_order(gateway)),
            _held("a job waits for its approval", lambda: a_job(gateway)),
            _held("refusals are clear", lambda: refusals(gateway)),
            _held("the store answers", lambda: the_queues(store_url)),
        ]
    return 0 if all(held) else 1


def an_order(gateway: Gateway) -> str:
    """Place an order twice; it is one order with one result."""
    order_id = f"verify-{uuid.uuid4()}"
    for _ in range(2):
        answer = gateway.post_order(order_id)
        assert answer.status_code == 202, f"{answer.status_code} {answer.text}"

    done = until(lambda: _unless_processing(gateway.order_status(order_id)), f"{order_id} is done")

    assert done["status"] == "done", done
    assert done["result"]["total"] == TOTAL, done
    return f"order {order_id}: {done['result']}"


def a_job(gateway: Gateway) -> str:
    """Start a job; it waits for a person, and ends when the person said yes."""
    job_id = gateway.start_job(account=ACCOUNT, key=str(uuid.uuid4()))
    before = gateway.job_status(job_id)
    assert before["status"] == "processing", before
    until(lambda: gateway.approve(job_id).status_code == 204, f"{job_id} asks for its approval")

    done = until(
        lambda: _unless_processing(gateway.job_status(job_id, wait_s=5)), f"{job_id} is done"
    )

    assert done["status"] == "done", done
    assert done["result"]["result"]["accountId"] == ACCOUNT, done
    return f"{job_id}: {done['result']}"


def refusals(gateway: Gateway) -> str:
    """Ask for what is not there, and for what cannot be."""
    unknown = gateway.order_status(f"verify-{uuid.uuid4()}")
    flawed = gateway.post_order("")
    assert unknown == {"code": 404, "status": "not_found"}, unknown
    assert flawed.status_code == 400, f"{flawed.status_code} {flawed.text}"
    return f"an unknown order is answered {unknown['code']}, a flawed one {flawed.status_code}"


def the_queues(store_url: str) -> str:
    """Ask the store over gRPC, as the operator does."""
    queues = asyncio.run(_queues(store_url))
    halted = [queue for queue in queues if queue.halted]
    assert not halted, f"tasks are halted: {halted}"
    return "queues: " + ", ".join(
        f"{q.group} due={q.due} running={q.running} members={q.members}" for q in queues
    )


async def _queues(store_url: str) -> list[Queue]:
    async with Admin(store_url) as admin:
        return await admin.get_queues(GROUPS)


def _unless_processing(status: dict[str, Any]) -> dict[str, Any] | None:
    return None if status.get("status") == "processing" else status


def _held(name: str, check: Callable[[], str]) -> bool:
    try:
        _say(f"ok: {name}: {check()}")
    except (AssertionError, GatewayAway, ResonateError) as error:
        _say(f"FAILED: {name}: {error}")
        return False
    return True


def _say(line: str) -> None:
    """Print at once: whoever reads the log of the pod sees how far it came."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
