"""The commands that images start, as processes."""

import signal
import subprocess
import sys
from pathlib import Path

from tools.install_sources import commands

PROJECT = {"scripts": {"slow-start": "slow_start.__main__:main"}}
MODULE = """
import sys

print("importing", flush=True)
sys.stdin.read()


def main() -> int:
    return 7
"""


def start(folder: Path) -> subprocess.Popen[str]:
    """Start a command whose module is imported for as long as its input is open."""
    package = folder / "slow_start"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(MODULE)
    command = folder / "slow-start"
    command.write_text(commands(PROJECT, {"slow_start"})["slow-start"])
    process = subprocess.Popen(
        [sys.executable, str(command)],
        env={"PYTHONPATH": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "importing\n"
    return process


def test_a_process_that_is_still_importing_ends_in_order_when_asked_to(tmp_path: Path) -> None:
    """As number 1 of a container it would not hear the signal without a handler."""
    with start(tmp_path) as process:
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=30) == 0


def test_a_command_ends_with_the_exit_code_of_its_function(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        process.communicate(timeout=30)

        assert process.returncode == 7
