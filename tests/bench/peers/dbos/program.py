"""The workloads written for DBOS; runs in its environment and imports no Holdfast.

`python -m tests.bench.peers.dbos.program GROUP` works for one group and does what lines of JSON on
stdin say; each is answered by a line on stdout. DBOS starts a workflow fastest in the process that
runs it.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from dbos import DBOS, DBOSConfig

from tests.bench import step_log
from tests.bench.closed_loop import Effort, drive
from tests.bench.shapes import CHILDREN, CRASH_STEP_S, CRASH_STEPS, SLEEP_S, WORKLOADS

POLL_S = 0.01
QUEUE = "bench-b"
LINE_BYTES_MAX = 1_048_576


async def plain_step(value: int) -> int:
    """Return the input."""
    return value


async def plain_slow_step(workflow: int, number: int) -> int:
    """Take a while, and tell that it ran."""
    step_log.write(step_log.BEGIN, workflow, number)
    await asyncio.sleep(CRASH_STEP_S)
    step_log.write(step_log.END, workflow, number)
    return number


step = DBOS.step(name="step")(plain_step)
slow_step = DBOS.step(name="slow_step")(plain_slow_step)


async def _remote(value: int) -> int:
    return value


remote = DBOS.workflow(name="remote")(_remote)


async def _enqueue(value: int) -> Any:
    return await DBOS.enqueue_workflow_async(QUEUE, remote, value)


async def _result(handle: Any) -> int:
    result: int = await handle.get_result(polling_interval_sec=POLL_S)
    return result


async def w1(value: int) -> int:
    """One step."""
    result: int = await step(value)
    return result


async def w2(value: int) -> int:
    """Four steps, one after the other."""
    for _ in range(4):
        value = await step(value + 1)
    return int(value)


async def w3(value: int) -> int:
    """Call, step, call."""
    fetched = await _result(await _enqueue(value + 1))
    worked: int = await step(fetched + 1)
    return await _result(await _enqueue(worked + 1))


async def w4a(value: int) -> int:
    """Many steps at once."""
    results: list[int] = await asyncio.gather(*[step(1) for _ in range(CHILDREN)])
    return value + sum(results)


async def w4b(value: int) -> int:
    """Many calls at once."""
    handles = [await _enqueue(1) for _ in range(CHILDREN)]
    return value + sum(await asyncio.gather(*[_result(handle) for handle in handles]))


async def w5(workflow: int) -> int:
    """Slow steps, one after the other."""
    for number in range(CRASH_STEPS):
        await slow_step(workflow, number)
    return workflow


async def w6(workflow: int) -> int:
    """Sleep."""
    step_log.write(step_log.ASLEEP, workflow, 0)
    await DBOS.sleep_async(SLEEP_S)
    step_log.write(step_log.AWAKE, workflow, 0)
    return workflow


WORKFLOWS: dict[str, Callable[[int], Awaitable[int]]] = {
    each.__name__: DBOS.workflow(name=each.__name__)(each)
    for each in (w1, w2, w3, w4a, w4b, w5, w6)
}


async def _run(name: str, value: int, expected: int) -> None:
    handle = await DBOS.start_workflow_async(WORKFLOWS[name], value)
    result = await _result(handle)
    if result != expected:
        raise RuntimeError(f"{name}({value}): {result!r} instead of {expected}")


class Driver:
    """Does what it is told."""

    def __init__(self) -> None:
        self._number = 0

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one line."""
        if "run_all" in order:
            numbers = range(order["count"])
            await asyncio.gather(*[_run(order["run_all"], n, n) for n in numbers])
            return {}
        workload = WORKLOADS[order["drive"]]

        async def once() -> None:
            self._number += 1
            await _run(workload.name, self._number, self._number + workload.adds)

        effort = Effort(seconds=order["seconds"], count=order["count"])
        return {"latencies_ms": await drive(once, in_flight=order["in_flight"], effort=effort)}


async def main(group: str, answers: int) -> None:
    """Launch, say so, and obey until stdin ends."""
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": os.environ["BENCH_DATABASE_URL"],
        "application_version": "bench",
        "executor_id": group,
        "log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.listen_queues([QUEUE] if group == "b" else [])
    DBOS.launch()
    await DBOS.register_queue_async(QUEUE, polling_interval_sec=POLL_S)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    driver = Driver()
    with os.fdopen(answers, "w") as out:
        print("{}", file=out, flush=True)
        while line := await reader.readline():
            print(json.dumps(await driver.obey(json.loads(line))), file=out, flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    _answers = os.dup(1)
    os.dup2(2, 1)  # whatever the library prints is no answer
    asyncio.run(main(sys.argv[1], _answers))
