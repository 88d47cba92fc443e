"""The client for programs without an event loop."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from holdfast import Context, PromiseNotFound, ResonateError
from holdfast.blocking import Resonate
from tests.integration.library.world import StoreProcess


def double(_ctx: Context, number: int) -> int:
    return 2 * number


def approval(ctx: Context, gate: str) -> Any:
    return (yield (yield ctx.promise(id=gate)))


def test_calls_return_when_they_are_done(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    with Resonate(embedded=file, env={}) as resonate:
        resonate.register(double)

        assert resonate.run("a", double, 1) == 2
        assert resonate.rpc("b", "double", 2, resonate.options(timeout=60)) == 4
        handle = resonate.begin_rpc("c", double, 3)
        assert (handle.id, handle.created, handle.result(timeout=10)) == ("c", True, 6)
        assert (handle.done(), handle.state()) == (True, "resolved")

    with Resonate(embedded=file, env={}) as again:
        assert again.get("a").result() == 2


def test_promises_and_tasks_are_there_without_await() -> None:
    with Resonate.local() as resonate:
        resonate.register(approval)
        handle = resonate.begin_run("run", approval, "gate")
        with pytest.raises(TimeoutError):
            handle.result(timeout=0.05)

        assert resonate.promises.create("gate").is_pending
        resonate.promises.resolve("gate", "yes")

        assert handle.result(timeout=10) == "yes"
        assert resonate.tasks.get("run").state == "fulfilled"
        assert not handle.cancel()
        with pytest.raises(PromiseNotFound):
            resonate.get("nothing")


def test_several_threads_may_share_it(tmp_path: Path) -> None:
    with StoreProcess.running(tmp_path) as store, Resonate(store.url, env={}) as resonate:
        resonate.register(double)
        values: list[int] = []

        def call(number: int) -> None:
            values.append(resonate.run(f"run/{number}", double, number))

        threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(values) == [2 * number for number in range(8)]


async def test_inside_an_event_loop_it_refuses_to_block() -> None:
    resonate = Resonate.local()
    try:
        with pytest.raises(ResonateError, match=r"use holdfast\.Resonate there"):
            resonate.get("x")
    finally:
        await asyncio.to_thread(resonate.stop)


def test_a_stopped_client_says_so() -> None:
    resonate = Resonate.local()
    resonate.stop()
    resonate.stop()

    with pytest.raises(ResonateError, match="stopped"):
        resonate.get("x")
