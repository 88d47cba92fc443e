"""What happens when nobody reads the stream of lines any more."""

import os
import subprocess
import sys

import pytest

STORY = """
import asyncio, sys
from holdfast_cli import signals
from holdfast_cli.demo.narration import Narrator

async def main(narrator):
    try:
        while True:
            narrator.happens("tick")
            await asyncio.sleep(0)
    finally:
        narrator.happens("cleaning up")
        print("cleaned up", file=sys.stderr)

narrator = Narrator()
sys.exit(narrator.exit_code(signals.run(main(narrator), interrupted=130)))
"""

PROGRAM = """
import asyncio, sys
from holdfast_cli import signals
from holdfast_cli.output import Console

async def main():
    console = Console(["a"])
    try:
        while True:
            console.line("a", "tick")
            await asyncio.sleep(0)
    finally:
        console.say("cleaned up")
        print("cleaned up", file=sys.stderr)

sys.exit(signals.run(main(), interrupted=3))
"""


def test_a_closed_pipe_ends_the_command_as_a_signal_does() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()

        process.stdout.close()  # as `| head -1` does
        errors = process.stderr.read()

    assert (process.returncode, errors) == (3, "cleaned up\n")


def test_a_story_that_nobody_hears_cleans_up_and_ends_as_other_programs_do() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STORY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()

        process.stdout.close()  # as `| head -1` does
        errors = process.stderr.read()

    assert (process.returncode, errors) == (141, "cleaned up\n")


@pytest.mark.parametrize("arguments", [["--help"], ["dev", "--help"], []])
def test_a_command_whose_output_nobody_reads_ends_quietly(arguments: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "holdfast_cli", *arguments],
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        errors = process.stderr.read()

    assert (process.returncode, errors) == (141, "")
