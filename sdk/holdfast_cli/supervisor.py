"""Keeps a set of processes running until told to stop, and leaves none behind.

It knows nothing of what the processes are for: see `plan` for that.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Self

from holdfast_cli import guard, probe
from holdfast_cli.backoff import Backoff
from holdfast_cli.child import Child, Ready, Timing
from holdfast_cli.errors import CommandFailed
from holdfast_cli.output import Output
from holdfast_cli.plan import ProcessSpec


async def ask_ready(spec: ProcessSpec) -> str | None:
    """Return why a process is not ready, or None when it is."""
    return await probe.not_ready(spec.metrics_port)


class Supervisor:
    """An async context manager: nothing runs before it is entered or after it was left.

    All children share a process group that a guard leads. So Ctrl-C in a terminal reaches this
    process alone, which then stops the children in order; and when this process is killed, the
    guard kills the group.
    """

    def __init__(
        self,
        processes: Sequence[ProcessSpec],
        *,
        output: Output,
        not_ready: Ready = ask_ready,
        timing: Timing | None = None,
        backoff: Callable[[], Backoff] = Backoff,
        on_pids: Callable[[dict[str, int]], None] = lambda _: None,
        hold: Iterable[int] = (),
    ) -> None:
        """Take what to run; `hold` are descriptors to be held until the last child is gone."""
        self._processes = processes
        self._output = output
        self._not_ready = not_ready
        self._timing = timing or Timing()
        self._backoff = backoff
        self._on_pids = on_pids
        self._hold = tuple(hold)
        self._guard: asyncio.subprocess.Process | None = None
        self._pipe: int | None = None
        self._children: list[Child] = []
        self._keepers: dict[str, asyncio.Task[None]] = {}

    @property
    def pids(self) -> dict[str, int]:
        """The ids of the processes that live now, by name."""
        return {child.spec.name: child.pid for child in self._children if child.pid is not None}

    async def __aenter__(self) -> Self:
        reading, self._pipe = os.pipe()
        try:
            self._guard = await asyncio.create_subprocess_exec(
                # Isolated and without packages: it needs nothing, and should weigh nothing.
                *(sys.executable, "-I", "-S", str(Path(guard.__file__))),
                stdin=reading,
                stdout=subprocess.DEVNULL,
                process_group=0,
                pass_fds=self._hold,
            )
        finally:
            os.close(reading)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._stop()
        finally:
            # Closing the pipe ends the guard, and with it whatever the children left running.
            assert self._pipe is not None
            assert self._guard is not None
            os.close(self._pipe)
            await self._guard.wait()

    async def start(self) -> None:
        """Start all, stage by stage, and wait until they are ready; raise CommandFailed."""
        for _, stage in groupby(self._processes, key=lambda spec: spec.stage):
            children = [self._child(spec) for spec in stage]
            self._output.say(f"starting {', '.join(child.spec.name for child in children)}")
            for child in children:
                self._children.append(child)
                self._keepers[child.spec.name] = asyncio.create_task(
                    child.keep(), name=f"keep {child.spec.name}"
                )
            await self._all_ready(children)

    async def broken(self) -> str:
        """Return when something is wrong that cannot be mended, with a sentence about it."""
        assert self._guard is not None
        gone = asyncio.create_task(self._guard.wait())
        try:
            done, _ = await asyncio.wait(
                [gone, *self._keepers.values()], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
        for task in done - {gone}:
            task.result()  # keepers return only when told to stop: this raises what went wrong
        return "The guard process was killed, which keeps children from outliving this one."

    def _child(self, spec: ProcessSpec) -> Child:
        assert self._guard is not None
        return Child(
            spec,
            output=self._output,
            not_ready=self._not_ready,
            timing=self._timing,
            backoff=self._backoff(),
            process_group=self._guard.pid,
            on_pid=lambda: self._on_pids(self.pids),
        )

    async def _all_ready(self, children: Sequence[Child]) -> None:
        starts = asyncio.as_completed(
            [child.started for child in children], timeout=self._timing.start_within
        )
        try:
            for start in starts:
                if failure := await start:
                    raise CommandFailed(failure)
        except TimeoutError as error:
            late = [child for child in children if not child.started.done()]
            reasons = "; ".join(f"{child.spec.name}: {child.reason}" for child in late)
            msg = f"Not ready within {self._timing.start_within:.0f} s: {reasons}."
            raise CommandFailed(msg) from error

    async def _stop(self) -> None:
        """Stop the stages in reverse order; a stage that does not end in time is killed."""
        try:
            for _, stage in groupby(reversed(self._children), key=lambda each: each.spec.stage):
                await self._stop_stage(list(stage))
        except asyncio.CancelledError:  # asked twice: the person does not want to wait
            for child in self._children:
                child.kill()
            await asyncio.gather(*self._keepers.values(), return_exceptions=True)
            raise
        await asyncio.gather(*self._keepers.values())

    async def _stop_stage(self, children: Sequence[Child]) -> None:
        for child in children:
            child.stop()
        keepers = [self._keepers[child.spec.name] for child in children]
        _, late = await asyncio.wait(keepers, timeout=self._timing.stop_within)
        for child in children:
            if self._keepers[child.spec.name] in late:
                self._output.say(f"{child.spec.name} does not end by itself and is killed")
                child.kill()
        if late:
            await asyncio.wait(late)
