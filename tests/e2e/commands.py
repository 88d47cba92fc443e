"""Running kubectl, helm and the like; a failure carries what they said."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

TIMEOUT_S: Final = 300.0


class CommandFailed(AssertionError):
    """A command ended with an error, or not at all."""


def run(
    *command: str,
    stdin: str | None = None,
    timeout_s: float = TIMEOUT_S,
    environ: Mapping[str, str] | None = None,
) -> str:
    """Run a command; return what it wrote to standard output."""
    code, output, errors = attempt(*command, stdin=stdin, timeout_s=timeout_s, environ=environ)
    if code:
        raise CommandFailed(
            f"{shlex.join(command)} ended with {code}:\n{output}\n{errors}".rstrip()
        )
    return output


def attempt(
    *command: str,
    stdin: str | None = None,
    timeout_s: float = TIMEOUT_S,
    environ: Mapping[str, str] | None = None,
) -> tuple[int, str, str]:
    """Run a command that may fail; return its exit code and what it wrote."""
    try:
        done = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, **(environ or {})},
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{shlex.join(command)} did not end in {timeout_s:g} s") from error
    except FileNotFoundError as error:
        raise CommandFailed(f"{command[0]} is not installed") from error
    return done.returncode, done.stdout, done.stderr


def succeeds(command: Sequence[str]) -> bool:
    """Tell whether a command exists and ends well."""
    try:
        return attempt(*command, timeout_s=60)[0] == 0
    except CommandFailed:
        return False
