"""A cluster, a promise store, and an operator between them, all in this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import yaml

from holdfast_operator.__main__ import Operator
from holdfast_operator.settings import OperatorSettings
from tests.integration.operator.fake_api import NAMESPACE, FakeApi, fake_api
from tests.integration.rpc.support import Served, serve

Operated = Callable[..., AbstractAsyncContextManager[Operator]]


def kubeconfig(path: Path, server: str, *, token: str = "t", namespace: str = NAMESPACE) -> Path:
    """Write a kubeconfig."""
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [
                    {"name": "c", "context": {"cluster": "k", "user": "u", "namespace": namespace}}
                ],
                "clusters": [{"name": "k", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {"token": token}}],
            }
        )
    )
    return path


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApi]:
    async with fake_api() as api:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "kubeconfig", api.url)))
        yield api


@pytest.fixture
async def store() -> AsyncIterator[Served]:
    async with serve() as served:
        yield served


@pytest.fixture
def operated(api: FakeApi, store: Served) -> Operated:
    """Run an operator for as long as a block lasts."""

    @contextlib.asynccontextmanager
    async def operated(
        *, store_url: str = store.url, resync: int = 3_600
    ) -> AsyncIterator[Operator]:
        settings = OperatorSettings(
            store_url=store_url,
            interval_ms=100,
            status_interval_ms=100,
            resync_seconds=resync,
        )
        operator = Operator(settings, namespace=NAMESPACE)
        async with operator.kube:
            running = asyncio.create_task(operator.run())
            try:
                yield operator
            finally:
                running.cancel()
                await asyncio.wait({running})
                if not running.cancelled():
                    running.result()

    return operated
