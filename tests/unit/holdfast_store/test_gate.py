"""Loops run while the gate is open, and do nothing at all behind a closed one."""

import asyncio

import pytest

from holdfast_store.gate import Gate


class Loop:
    """A loop that tells when it runs, and takes its time to end."""

    def __init__(self) -> None:
        self.starts = 0
        self.is_running = False
        self.running = asyncio.Event()

    async def run(self) -> None:
        self.starts += 1
        self.is_running = True
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # what a loop has to put away takes a turn
            self.is_running = False
            self.running.clear()


async def test_a_loop_runs_only_while_the_gate_is_open() -> None:
    gate, loop = Gate(), Loop()
    keeping = asyncio.create_task(gate.keep(loop.run))
    await asyncio.sleep(0)
    assert loop.starts == 0

    for starts in (1, 2):
        gate.open()
        await loop.running.wait()
        await gate.close()

        assert not loop.is_running
        assert loop.starts == starts
    keeping.cancel()


async def test_closing_waits_for_every_loop() -> None:
    gate, loops = Gate(), [Loop(), Loop()]
    keeping = [asyncio.create_task(gate.keep(loop.run)) for loop in loops]
    gate.open()
    for loop in loops:
        await loop.running.wait()

    await gate.close()

    assert not any(loop.is_running for loop in loops)
    for each in keeping:
        each.cancel()


async def test_a_gate_that_is_closed_at_once_lets_nothing_run() -> None:
    gate, loop = Gate(), Loop()
    keeping = asyncio.create_task(gate.keep(loop.run))
    await asyncio.sleep(0)

    gate.open()
    await gate.close()
    await asyncio.sleep(0)

    assert loop.starts == 0
    keeping.cancel()


async def test_a_loop_that_breaks_is_not_kept_secret() -> None:
    gate = Gate()

    async def broken() -> None:
        raise LookupError("a defect")

    gate.open()

    with pytest.raises(LookupError, match="a defect"):
        await gate.keep(broken)
    await gate.close()


async def test_whoever_keeps_a_loop_ends_it_by_a_cancellation() -> None:
    gate, loop = Gate(), Loop()
    keeping = asyncio.create_task(gate.keep(loop.run))
    gate.open()
    await loop.running.wait()

    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)

    assert keeping.cancelled()
    assert not loop.is_running
