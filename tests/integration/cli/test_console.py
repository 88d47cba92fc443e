"""What happens when nobody reads the stream of lines any more."""

import subprocess
import sys

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
