"""What the real operator needs to have something to do: a Kubernetes API, and reasons to scale."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from tests.integration.monitoring.system import DOOMED, System
from tests.integration.operator.fake_api import NAMESPACE, FakeApi, fake_api


@contextlib.asynccontextmanager
async def operated(system: System) -> AsyncIterator[FakeApi]:
    """Run the operator on a stand-in for a cluster with two worker groups."""
    async with fake_api() as api:
        for name in ("workers", DOOMED):
            await api.deployment(name, replicas=1)
            await api.worker_group(name, target=name, groups=[name])
        system.kubeconfig.write_text(json.dumps(_kubeconfig(api.url)))
        # The operator is ready when the API, which runs on this loop, has told it everything.
        await asyncio.to_thread(system.start_operator)
        yield api


async def change_its_mind(api: FakeApi, number: int) -> None:
    """Have a worker group scaled up and down in turns, and refuse one of the writes."""
    least = 1 + number % 2
    api.fail("PATCH", f"{DOOMED}/status", 500)
    await api.worker_group(DOOMED, target=DOOMED, groups=[DOOMED], min=least, max=least)
    await api.wait_for(lambda: api.replicas(DOOMED) == least, seconds=60)


def _kubeconfig(server: str) -> dict[str, object]:
    context = {"cluster": "k", "user": "u", "namespace": NAMESPACE}
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": context}],
        "clusters": [{"name": "k", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
