"""A machine on which only stand-ins are installed; they write down what they are asked."""

from pathlib import Path

import pytest


class Machine:
    """Programs that do nothing but note their arguments."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self._log = folder / "log"

    def install(self, program: str, *, code: int = 0, says: str = "", then: str = ":") -> None:
        """Install a stand-in that prints `says`, does `then` and ends with `code`."""
        script = self.bin / program
        note = f'echo "{program} $*" >>{self._log}'
        lines = ["#!/bin/sh", note, f"printf '{says}'", then, f"exit {code}"]
        script.write_text("\n".join(lines) + "\n")
        script.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        """What was asked so far, in order."""
        return self._log.read_text().splitlines() if self._log.exists() else []


def machine_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Make a machine whose programs are found before those of the system."""
    machine = Machine(folder)
    monkeypatch.setenv("PATH", f"{machine.bin}:/usr/bin:/bin")
    return machine
