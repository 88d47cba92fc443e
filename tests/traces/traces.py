"""The worked traces of the protocol as data, and what plays and judges them.

Whoever can carry out the protocol's operations can play them: see `Player`. The operations and
their answers are in the JSON that the protocol has over HTTP, whatever the player speaks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import yaml

Json = dict[str, Any]

HERE = Path(__file__).parent

EXACT = (".value", ".param", ".tags", ".promiseParam", ".promiseTags")
"""Members that are the callers' own: they hold what was given and nothing else."""

DONE = (200, 300)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operation at one instant, and what must come of it."""

    at: int
    do: str
    data: Json
    status: int
    answer: Any = None
    http: Json = field(default_factory=dict)
    outbox: Sequence[str] | None = None

    def __str__(self) -> str:
        return f"@{self.at} {self.do} {self.data}"


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Steps that follow each other, in a store that was empty before."""

    name: str
    section: str
    steps: Sequence[Step]

    def __str__(self) -> str:
        return f"{self.section} {self.name}"


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A request over HTTP and its answer: the body of `POST /`, or a path to get."""

    name: str
    status: int
    body: str | None = None
    path: str = "/"
    debug: bool | None = None
    """How the store must run; `None` when it does not matter."""
    answer: Json = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


@runtime_checkable
class Player(Protocol):
    """Something that the operations of the protocol can be sent to."""

    has_envelopes: bool
    """Whether what it answers came in envelopes, with what only those have."""

    async def reset(self) -> None:
        """Forget everything."""

    async def handle(self, kind: str, data: Json, *, at: int) -> tuple[int, Any]:
        """Carry out an operation at an instant; answer its status and data."""

    async def outbox(self) -> set[str] | None:
        """List the messages that wait, as `worked.yaml` does; `None` when somebody takes them."""


def worked_traces() -> list[Trace]:
    """Read the traces of §11.1 to §11.10."""
    return [
        Trace(
            name=each["name"],
            section=each["section"],
            steps=[Step(**step) for step in each["steps"]],
        )
        for each in _read("worked.yaml")
    ]


def envelopes() -> list[Envelope]:
    """Read the traces of §11.11, and the whole envelopes of §11.1."""
    return [Envelope(**each) for each in _read("envelopes.yaml")]


def _read(name: str) -> list[Json]:
    content: dict[str, list[Json]] = yaml.safe_load((HERE / name).read_text())
    return content["traces"]


async def play(trace: Trace, player: Player) -> None:
    """Play a trace from its beginning; raise `AssertionError` at the first step that differs."""
    await player.reset()
    for step in trace.steps:
        status, answer = await player.handle(step.do, step.data, at=step.at)
        assert status == step.status, f"{step}: {status} {answer}"
        if status not in DONE:
            assert isinstance(answer, str), f"{step}: a refusal is a sentence, not {answer!r}"
            assert answer, f"{step}: a refusal without a word"
        for expected in (step.answer, step.http or None if player.has_envelopes else None):
            if expected is not None:
                difference = difference_of(expected, answer, "answer")
                assert difference is None, f"{step}: {difference}"
        if step.outbox is not None:
            waiting = await player.outbox()
            assert waiting in (None, set(step.outbox)), f"{step}: {waiting} wait"


def difference_of(expected: Any, found: Any, where: str) -> str | None:
    """Say where an answer does not hold what it must; more than that it may hold."""
    if not isinstance(expected, dict) or where.endswith(EXACT):
        return None if expected == found else f"{where} is {found!r}, not {expected!r}"
    if not isinstance(found, dict):
        return f"{where} is no object but {found!r}"
    for name, member in expected.items():
        place = f"{where}.{name}"
        if member is None and name not in found:
            continue
        if name not in found:
            return f"{place} is missing"
        difference = difference_of(member, found[name], place)
        if difference is not None:
            return difference
    return None


def execute(task_id: str, version: int, address: str) -> str:
    """Name an execute message as `worked.yaml` does."""
    return f"execute {task_id} {version} to {address}"


def unblock(promise_id: str, address: str) -> str:
    """Name an unblock message as `worked.yaml` does."""
    return f"unblock {promise_id} to {address}"
