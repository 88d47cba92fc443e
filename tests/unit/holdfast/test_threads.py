import asyncio
import contextvars
import threading
from typing import Any

import pytest

from holdfast.runtime.threads import NotBegun, StepThreads

request: contextvars.ContextVar[str] = contextvars.ContextVar("request")


@pytest.fixture
async def threads() -> Any:
    threads = StepThreads(asyncio.get_running_loop(), size=2, name="test")
    yield threads
    threads.close()


async def test_a_function_runs_beside_the_loop_and_its_value_comes_back(
    threads: StepThreads,
) -> None:
    def work(a: int, *, b: int) -> Any:
        return a + b, threading.current_thread() is threading.main_thread()

    assert await threads.run(work, (1,), {"b": 2}) == (3, False)


async def test_exceptions_come_back(threads: StepThreads) -> None:
    def fail() -> None:
        raise LookupError("no")

    def stop() -> None:
        raise StopIteration

    with pytest.raises(LookupError, match="no"):
        await threads.run(fail, (), {})
    with pytest.raises(RuntimeError, match="StopIteration"):
        await threads.run(stop, (), {})


async def test_context_variables_are_seen(threads: StepThreads) -> None:
    request.set("r1")

    assert await threads.run(request.get, (), {}) == "r1"


async def test_no_more_threads_than_allowed_and_all_jobs_done(threads: StepThreads) -> None:
    meeting = threading.Barrier(2, timeout=5)
    seen = set()

    def work() -> None:
        seen.add(threading.current_thread().name)
        meeting.wait()

    await asyncio.gather(*(threads.run(work, (), {}) for _ in range(6)))

    assert len(seen) == 2


async def test_a_cancelled_job_only_loses_its_result(threads: StepThreads) -> None:
    begun = threading.Event()
    going = threading.Event()
    finished = threading.Event()

    def work() -> None:
        begun.set()
        going.wait(5)
        finished.set()

    job = threads.run(work, (), {})
    await threads.run(begun.wait, (5,), {})
    job.cancel()
    going.set()

    await threads.run(lambda: finished.wait(5), (), {})
    assert finished.is_set()
    assert job.cancelled()


async def test_a_job_cancelled_in_the_queue_never_runs_and_frees_its_place(
    threads: StepThreads,
) -> None:
    going = threading.Event()
    ran: list[int] = []
    busy = [threads.run(going.wait, (5,), {}) for _ in range(2)]
    queued = [threads.run(ran.append, (number,), {}) for number in range(3)]

    queued[1].cancel()
    going.set()
    await asyncio.gather(*busy, queued[0], queued[2])
    await threads.run(lambda: None, (), {})

    assert sorted(ran) == [0, 2]
    assert threads._busy == 0


async def test_closing_drops_what_no_thread_has_begun() -> None:
    threads = StepThreads(asyncio.get_running_loop(), size=1, name="test")
    begun = threading.Event()
    going = threading.Event()
    ran: list[int] = []

    def work() -> None:
        begun.set()
        going.wait(5)

    busy = threads.run(work, (), {})
    queued = threads.run(ran.append, (1,), {})
    while not begun.is_set():  # noqa: ASYNC110 - set by a thread
        await asyncio.sleep(0.001)

    threads.close()
    going.set()
    await busy

    assert queued.cancelled()
    assert ran == []
    assert threads._busy == 0


async def test_whether_a_job_may_begin_is_asked_when_its_turn_has_come() -> None:
    threads = StepThreads(asyncio.get_running_loop(), size=1, name="test")
    may_end, is_good = threading.Event(), True
    ran: list[str] = []
    first = threads.run(may_end.wait, (5,), {})
    late = threads.run(ran.append, ("late",), {}, may_begin=lambda: is_good)

    is_good = False
    may_end.set()

    assert await first
    with pytest.raises(NotBegun):
        await late
    await threads.run(ran.append, ("next",), {}, may_begin=lambda: True)
    assert ran == ["next"]
    threads.close()
