"""Where a demo plays: a `holdfast dev` of its own, in a directory that goes away afterwards."""

import contextlib
import json
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.errors import ResonateError
from holdfast_cli.demo.journal import Journal
from holdfast_cli.dev import System, running
from holdfast_cli.errors import CommandFailed
from holdfast_cli.plan import FREE_PORTS, Options, plan
from holdfast_cli.ports import free_ports

LINES_KEPT = 40  # of the processes' logs, for the case that something goes wrong


@dataclass(frozen=True, slots=True)
class Stage:
    """Running processes, and the journal that they keep."""

    system: System
    journal: Journal


class Backstage:
    """Takes the log of all processes: keeps the end of it, and passes on what is of interest."""

    def __init__(
        self,
        *,
        on_step: Callable[[str, str], None] = lambda _name, _text: None,
        on_event: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """`on_step` hears what steps tell, `on_event` what happens to processes."""
        self._on_step = on_step
        self._on_event = on_event
        self._last: deque[str] = deque(maxlen=LINES_KEPT)

    def line(self, name: str, text: str) -> None:
        """Keep a line; pass it on when it is one that a step wrote for people."""
        self._last.append(f"{name} | {text}")
        try:
            told = str(json.loads(text)["event"])
        except (ValueError, KeyError, TypeError):
            return
        if told.startswith("["):  # as the steps of the examples write, and nobody else
            self._on_step(name, told)

    def say(self, text: str) -> None:
        """Keep and pass on a sentence about the processes."""
        self._last.append(f"holdfast | {text}")
        self._on_event(text)

    def log(self) -> str:
        """Return the end of the log, with a heading."""
        return "\n".join(["The end of the log:", *self._last])


@contextlib.asynccontextmanager
async def stage(options: Options, *, backstage: Backstage) -> AsyncIterator[Stage]:
    """Start everything on free ports; stop it and remove its data on the way out.

    When the demo fails, the end of the log becomes part of the failure.
    """
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as directory:
        journal = Journal(Path(directory) / "journal.jsonl")
        options = replace(
            options,
            data=Path(directory) / "data",
            port_base=FREE_PORTS,
            settings={**options.settings, **journal.settings},
        )
        the_plan = plan(options, free_ports=free_ports())
        try:
            async with running(options, the_plan, output=backstage) as system:
                yield Stage(system, journal)
        except (CommandFailed, ResonateError) as error:
            raise CommandFailed(f"{error}\n{backstage.log()}") from error
