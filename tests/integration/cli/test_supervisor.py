"""The supervisor with stand-in processes: start order, restarts, stop order, nothing left."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from holdfast_cli.backoff import Backoff
from holdfast_cli.child import Timing
from holdfast_cli.errors import CommandFailed
from holdfast_cli.plan import ProcessSpec
from holdfast_cli.supervisor import Supervisor
from tests.integration.cli.stand_ins import Reader, StandIns, ended, lives


def supervisor(reader: Reader, *processes: ProcessSpec, **timing: float) -> Supervisor:
    return Supervisor(
        processes,
        output=reader,
        timing=Timing(**timing),
        backoff=lambda: Backoff(first=0.01, longest=0.04),
    )


@pytest.fixture
def stand_ins(tmp_path: Path) -> StandIns:
    return StandIns(tmp_path)


async def test_all_are_ready_when_the_start_returns(stand_ins: StandIns) -> None:
    reader = Reader()

    async with supervisor(reader, stand_ins.spec("a"), stand_ins.spec("b", stage=1)) as running:
        await running.start()

        assert set(running.pids) == {"a", "b"}
        assert all(map(lives, running.pids.values()))


async def test_a_stage_starts_after_the_one_before_is_ready(stand_ins: StandIns) -> None:
    reader = Reader()
    store = stand_ins.spec("store", "never-ready")
    worker = stand_ins.spec("worker", stage=1)

    async with supervisor(reader, store, worker, start_within=1.0) as running:
        with pytest.raises(CommandFailed) as failure:
            await running.start()

        assert set(running.pids) == {"store"}
    assert str(failure.value) == "Not ready within 1 s: store: The store is away."


async def test_stages_stop_in_reverse_order(stand_ins: StandIns) -> None:
    reader = Reader()
    processes = [stand_ins.spec(name, stage=stage) for stage, name in enumerate("abc")]

    async with supervisor(reader, *processes) as running:
        await running.start()

    assert stand_ins.stopped() == ["c", "b", "a"]


async def test_a_killed_process_comes_back_with_another_pid(stand_ins: StandIns) -> None:
    reader = Reader()

    async with supervisor(reader, stand_ins.spec("a")) as running:
        await running.start()
        first = running.pids["a"]
        os.kill(first, signal.SIGKILL)
        await reader.seen("a is ready again")

        second = running.pids["a"]

    assert second != first
    assert (
        f"holdfast | a (pid {first}) was ended by signal 9 (Killed); starting it again in 0.0 s"
        in (reader.lines)
    )
    assert f"holdfast | a runs again, pid {second}" in reader.lines


async def test_repeated_crashes_wait_longer_and_longer(stand_ins: StandIns) -> None:
    reader = Reader()

    async with Supervisor(
        [stand_ins.spec("a")], output=reader, backoff=lambda: Backoff(first=0.1, longest=0.4)
    ) as running:
        await running.start()
        for times in range(1, 5):
            os.kill(running.pids["a"], signal.SIGKILL)
            await reader.seen("a runs again", times=times)

    delays = [line.split()[-2] for line in reader.lines if "starting it again" in line]
    assert delays == ["0.1", "0.2", "0.4", "0.4"]


async def test_bad_settings_are_not_tried_twice(stand_ins: StandIns) -> None:
    reader = Reader()

    async with supervisor(reader, stand_ins.spec("a", "bad-settings")) as running:
        with pytest.raises(CommandFailed, match=r"a \(pid \d+\) ended with exit code 2 before"):
            await running.start()

    assert sum("hello" in line for line in reader.lines) == 1


async def test_a_process_that_crashes_at_start_is_given_up(stand_ins: StandIns) -> None:
    reader = Reader()

    async with supervisor(reader, stand_ins.spec("a", "crashing")) as running:
        with pytest.raises(CommandFailed, match="ended with exit code 7 before it was ready"):
            await running.start()

    assert sum("hello" in line for line in reader.lines) == 3


async def test_a_program_that_does_not_exist_is_given_up_with_the_reason(
    stand_ins: StandIns,
) -> None:
    spec = ProcessSpec(
        name="a", argv=("/nonexistent/python",), settings={}, stage=0, metrics_port=1
    )

    async with supervisor(Reader(), spec) as running:
        with pytest.raises(CommandFailed, match=r"could not be started \(No such file"):
            await running.start()


async def test_a_process_that_ignores_the_request_is_killed(stand_ins: StandIns) -> None:
    reader = Reader()

    async with supervisor(reader, stand_ins.spec("a", "stubborn"), stop_within=0.2) as running:
        await running.start()
        pid = running.pids["a"]

    assert not lives(pid)
    assert "holdfast | a does not end by itself and is killed" in reader.lines


async def test_a_second_request_to_stop_does_not_wait(stand_ins: StandIns) -> None:
    reader = Reader()
    started = asyncio.Event()

    async def main() -> None:
        async with supervisor(reader, stand_ins.spec("a", "stubborn")) as running:
            await running.start()
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(main())
    await started.wait()
    task.cancel()
    await reader.seen("stopping")
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    hello = await reader.seen(r"hello from (\d+)")
    assert not lives(int(hello[1]))


async def test_losing_the_guard_is_reported(stand_ins: StandIns) -> None:
    async with supervisor(Reader(), stand_ins.spec("a")) as running:
        await running.start()
        os.kill(os.getpgid(running.pids["a"]), signal.SIGKILL)

        async with asyncio.timeout(10):
            sentence = await running.broken()

    assert "guard" in sentence


async def test_children_are_not_in_the_process_group_that_ctrl_c_reaches(
    stand_ins: StandIns,
) -> None:
    async with supervisor(Reader(), stand_ins.spec("a"), stand_ins.spec("b")) as running:
        await running.start()

        groups = {os.getpgid(pid) for pid in running.pids.values()}

    assert len(groups) == 1
    assert os.getpgid(0) not in groups


PARENT = """
import asyncio, sys
from pathlib import Path
from holdfast_cli.supervisor import Supervisor
from tests.integration.cli.stand_ins import Reader, StandIns

async def main():
    spec = StandIns(Path(sys.argv[1])).spec("a", "stubborn")
    async with Supervisor([spec], output=Reader()) as running:
        await running.start()
        print(running.pids["a"], flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_killing_the_supervisor_leaves_nothing(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout
    child = int(await parent.stdout.readline())

    parent.kill()
    await parent.wait()

    await ended(child)
