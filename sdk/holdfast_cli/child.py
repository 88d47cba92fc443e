"""One process that is kept running: started, watched, started again."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from holdfast_cli.backoff import Backoff
from holdfast_cli.output import Output
from holdfast_cli.plan import ProcessSpec

LINE_BYTES_MAX = 64 * 1024  # what is longer is shown in parts
BAD_SETTINGS = 2  # the exit code of a process that will not start with these settings, ever
START_TRIES_MAX = 3  # a process that dies so often before it was ready once is given up

Ready = Callable[[ProcessSpec], Awaitable[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How patient the supervisor is, in seconds."""

    probe_every: float = 0.05
    start_within: float = 60.0
    stop_within: float = 10.0  # then SIGKILL; the processes' own limits are lower
    drain_output_within: float = 1.0


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended: words to follow its name, and its exit code if it had one."""

    words: str
    code: int | None = None

    @classmethod
    def of(cls, pid: int, code: int) -> Self:
        """Describe an exit code, negative for a signal as the standard library has it."""
        if code < 0:
            return cls(f"(pid {pid}) was ended by signal {-code} ({signal.strsignal(-code)})")
        return cls(f"(pid {pid}) ended with exit code {code}", code)

    def __str__(self) -> str:
        return self.words


class Child:
    """A process and its successors under one name; at most one of them lives at any instant.

    `started` is decided when the first start has succeeded, then its result is None, or has failed
    for good, then it is a sentence and there is no process any more.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        *,
        output: Output,
        not_ready: Ready,
        timing: Timing,
        backoff: Backoff,
        process_group: int,
        on_pid: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.started: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.reason = "it was not started yet"  # why it is not ready
        self._output = output
        self._not_ready = not_ready
        self._timing = timing
        self._backoff = backoff
        self._process_group = process_group
        self._on_pid = on_pid
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._tries = 0

    @property
    def pid(self) -> int | None:
        """The process id, while a process lives."""
        return None if self._process is None else self._process.pid

    async def keep(self) -> None:
        """Run the process, and run it again whenever it ends, until it is told to stop."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started = loop.time()
            end = await self._live()
            if self._stopping.is_set() or self._given_up(end):
                return
            delay = self._backoff.after(lived=loop.time() - started)
            self._output.say(f"{self.spec.name} {end}; starting it again in {delay:.1f} s")
            await self._pause(delay)

    def stop(self) -> None:
        """Ask the process to end, and start no other."""
        self._stopping.set()
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once, and start no other."""
        self._stopping.set()
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _pause(self, delay: float) -> None:
        try:
            async with asyncio.timeout(delay):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _live(self) -> End:
        """Run the process once, from its start to its end."""
        self._tries += 1
        try:
            process = await self._spawn()
        except OSError as error:  # the interpreter was removed, or the machine is out of processes
            return End(f"could not be started ({error.strerror})")
        self._process = process
        if self._stopping.is_set():  # between the decision to start and the start itself
            process.terminate()
        if self.started.done():
            self._output.say(f"{self.spec.name} runs again, pid {process.pid}")
        self._on_pid()
        assert process.stdout is not None
        async with asyncio.TaskGroup() as tasks:
            pump = tasks.create_task(self._pump(process.stdout))
            watch = tasks.create_task(self._watch(process.pid))
            code = await process.wait()
            watch.cancel()
            # The pipe may outlive the process, if that left something running which holds it.
            await asyncio.wait([pump], timeout=self._timing.drain_output_within)
            pump.cancel()
        self._process = None
        return End.of(process.pid, code)

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self.spec.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self.spec.settings},
            process_group=self._process_group,
        )

    async def _watch(self, pid: int) -> None:
        """Note when the process becomes ready."""
        while reason := await self._not_ready(self.spec):
            self.reason = reason
            await asyncio.sleep(self._timing.probe_every)
        if self.started.done():
            self._output.say(f"{self.spec.name} is ready again, pid {pid}")
        else:
            self.started.set_result(None)

    def _given_up(self, end: End) -> bool:
        """Tell whether a process that was never ready is not worth another start."""
        if self.started.done() or (end.code != BAD_SETTINGS and self._tries < START_TRIES_MAX):
            return False
        self.started.set_result(f"{self.spec.name} {end} before it was ready; its lines say why.")
        return True

    async def _pump(self, stream: asyncio.StreamReader) -> None:
        """Hand on what the process writes, line by line."""
        rest = b""
        while chunk := await stream.read(LINE_BYTES_MAX):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_BYTES_MAX:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._output.line(self.spec.name, line.decode(errors="replace"))
        if rest:
            self._output.line(self.spec.name, rest.decode(errors="replace"))
