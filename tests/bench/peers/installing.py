"""Fetches peers from their packages into the checkout's cache folder.

Each has an environment of its own. None of them is a dependency of Holdfast, or in its locks.
"""

import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.processes import ROOT

CACHE: Final = ROOT / ".cache" / "bench-peers"
ERROR_LINES_SHOWN: Final = 8


class PeerMissing(Exception):
    """A peer could not be had; the message says what was tried and what came back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """What one peer consists of, with exact versions."""

    name: str
    python: Sequence[str]
    npm: Sequence[str] = field(default=())

    def folder(self) -> Path:
        """Where it is installed."""
        return CACHE / self.name

    def python_program(self) -> str:
        """Return the Python that has its packages."""
        return str(self.folder() / "venv" / "bin" / "python")

    def versions(self) -> dict[str, str]:
        """Tell the version of each package."""
        pairs = [spec.rpartition("==")[::2] for spec in self.python]
        pairs += [spec.rpartition("@")[::2] for spec in self.npm]
        return dict(pairs)


def install(packages: Packages) -> None:
    """Install what is not there yet; raise PeerMissing."""
    folder = packages.folder()
    wanted = "\n".join([*packages.python, *packages.npm])
    marker = folder / "installed"
    if marker.exists() and marker.read_text() == wanted:
        return
    print(f"installing {packages.name} into {folder}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    uv = Path(sys.executable).with_name("uv")
    _run([str(uv), "venv", "--quiet", "--python", sys.executable, str(folder / "venv")])
    pip = [str(uv), "pip", "install", "--quiet", "--python", packages.python_program()]
    _run([*pip, *packages.python])
    for spec in packages.npm:
        _unpack(spec, folder)
    marker.write_text(wanted)


def npm_platform() -> str:
    """Name this machine as packages of npm with programs in them do."""
    machine = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
    return f"{sys.platform}-{machine}"


def _unpack(spec: str, folder: Path) -> None:
    """Fetch one archive of npm; there is nothing to run to install it."""
    if shutil.which("npm") is None:
        raise PeerMissing(f"{spec} comes from npm, and there is no npm on PATH")
    told = _run(["npm", "pack", "--silent", "--pack-destination", str(folder), spec])
    archive = folder / told.split()[-1]
    shutil.unpack_archive(archive, folder, filter="data")
    archive.unlink()


def _run(command: Sequence[str]) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PeerMissing(f"{command[0]} could not be started: {error}") from error
    if ran.returncode != 0:
        lines = (ran.stdout + ran.stderr).splitlines()[-ERROR_LINES_SHOWN:]
        raise PeerMissing(f"`{' '.join(command)}` failed:\n" + "\n".join(lines))
    return ran.stdout
