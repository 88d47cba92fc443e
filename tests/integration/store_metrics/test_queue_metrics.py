"""What a scrape of a running store tells of its queues and timers."""

import asyncio
import json
import urllib.request
from pathlib import Path

from holdfast.core.requests import Done, PromiseCreate
from tests.integration.rpc.support import FAR_MS, join, member, targeted
from tests.integration.store_archives.files import url_of
from tests.integration.store_archives.processes import PATIENCE_S, start


def scrape(address: str) -> list[str]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE_S) as answer:
        return [line for line in answer.read().decode().splitlines() if line[0] != "#"]


async def scraped(address: str, *lines: str) -> list[str]:
    """Scrape until these lines are there."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await asyncio.to_thread(scrape, address)
            if set(lines) <= set(found):
                return found
            await asyncio.sleep(0.05)


async def test_queues_and_timers_of_a_running_store_are_scraped(tmp_path: Path) -> None:
    process = await start(
        "serve",
        database=url_of(tmp_path / "store.db"),
        listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:0",
    )
    assert process.stderr is not None
    addresses: dict[str, str] = {}
    async with asyncio.timeout(PATIENCE_S):
        while len(addresses) < 2:
            event = json.loads(await process.stderr.readline())
            if "address" in event:
                addresses[event["event"]] = event["address"]
    metrics = addresses["metrics_listening"]
    try:
        url = f"grpc://{addresses['store_listening']}"
        async with join(url, member(groups=("g",), credits=1)) as (client, mailbox):
            await client.submit([targeted(f"t{n}") for n in range(3)])
            await mailbox.tasks.get()
            asked = await client.submit([PromiseCreate(id="now", timeout_at_ms=FAR_MS)])
            [now] = asked.outcomes
            assert isinstance(now, Done)
            assert now.promise is not None
            now_ms = now.promise.created_at_ms
            sleep = PromiseCreate(
                id="sleep", timeout_at_ms=now_ms + 300, tags={"resonate:timer": "true"}
            )
            await client.submit([sleep])

            found = await scraped(
                metrics,
                'holdfast_store_queue_depth{group="g"} 2.0',
                'holdfast_store_queue_running{group="g"} 1.0',
                'holdfast_store_queue_suspended{group="g"} 0.0',
                'holdfast_store_queue_halted{group="g"} 0.0',
                'holdfast_store_queue_members{group="g"} 1.0',
                'holdfast_store_queue_free_credits{group="g"} 0.0',
                "holdfast_store_timer_lateness_seconds_count 1.0",
                "holdfast_store_due_rows_set_aside 0.0",
            )
        ages = [line for line in found if "oldest_due_age_seconds" in line]
        assert len(ages) == 1
        assert float(ages[0].split(" ")[1]) > 0
    finally:
        process.kill()
        await process.communicate()
