"""Signals and exit codes of real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

PROGRAM = """
import asyncio, sys
from holdfast_chassis.lifecycle import Shutdown, StartFailed, run
from holdfast_chassis.logs import setup_logging

async def graceful(shutdown: Shutdown) -> None:
    print("up", flush=True)
    await shutdown.wait()
    print("drained", flush=True)

async def stubborn(shutdown: Shutdown) -> None:
    print("up", flush=True)
    await shutdown.wait()
    print("draining", flush=True)
    await asyncio.Event().wait()

async def unable(shutdown: Shutdown) -> None:
    raise StartFailed("The database is not migrated.")

async def broken(shutdown: Shutdown) -> None:
    raise RuntimeError("surprise")

setup_logging("info", "test")
sys.exit(run(globals()[sys.argv[1]]))
"""

Process = subprocess.Popen[str]


@pytest.fixture
def start() -> Callable[[str], Process]:
    def start(main: str) -> Process:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, main],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_process_drain_and_exit_0(
    start: Callable[[str], Process], number: signal.Signals
) -> None:
    with start("graceful") as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        os.kill(process.pid, number)

        output, errors = process.communicate(timeout=10)

    assert (process.returncode, output) == (0, "drained\n")
    assert '"event": "shutdown_requested"' in errors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_does_not_wait(
    start: Callable[[str], Process], number: signal.Signals, code: int
) -> None:
    with start("stubborn") as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout.readline() == "draining\n"
        os.kill(process.pid, number)

        process.communicate(timeout=10)

    assert process.returncode == code


def test_a_start_that_fails_for_a_known_reason_says_only_that(
    start: Callable[[str], Process],
) -> None:
    with start("unable") as process:
        _, errors = process.communicate(timeout=10)

    assert process.returncode == 1
    assert '"reason": "The database is not migrated."' in errors
    assert "Traceback" not in errors


def test_a_surprise_is_logged_once_and_exits_1(start: Callable[[str], Process]) -> None:
    with start("broken") as process:
        _, errors = process.communicate(timeout=10)

    assert process.returncode == 1
    assert errors.count("RuntimeError: surprise") == 1
    assert len(errors.splitlines()) == 1
