"""A page as the parts that can be tried: what is typed, what is saved, what must be seen.

Comments say what a reader does not need to be told; they stand on the line before their block:

    <!-- background -->     the commands of the next block go on running, in a terminal of their own
    <!-- file: PATH -->     the next block is saved there; without it, a program names itself in the
                            first words of its docstring
    <!-- change: PATH -->   the next block is a change of that file
    <!-- elsewhere: WHY --> the next block is not typed here

and some are acts of their own:

    <!-- needs: NAME of PAGE -->  a program of another page is there
    <!-- stop: TEXT -->     Ctrl-C in the terminal whose command has this text
    <!-- recorded: ID in FILE -->  wait until a store has recorded this step: a person types slowly
    <!-- parked: ID in FILE -->    wait until no process holds the task of this workflow
    <!-- once: TEXT -->     the terminals have shown this exactly once
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PART = re.compile(
    r"^<!-- (?P<key>\w+)(?:: (?P<value>.*?))? -->$"
    r"|^```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_PROGRAM = re.compile(r'"""([\w.]+\.py):')
_RECORDS = {
    "recorded": ("promises", ("resolved",)),
    "parked": ("tasks", ("suspended", "fulfilled")),
}
MODIFIERS = frozenset({"background", "file", "change", "elsewhere"})


@dataclass(frozen=True, slots=True)
class Typed:
    """A command, and what is printed below it; nothing printed is nothing claimed."""

    command: str
    shown: str
    is_background: bool


@dataclass(frozen=True, slots=True)
class Saved:
    """A file that the reader makes."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Changed:
    """Lines of a file that the reader replaces."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Seen:
    """Lines that a terminal shows sooner or later."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Once:
    """What the terminals have shown exactly once."""

    text: str


@dataclass(frozen=True, slots=True)
class Waited:
    """A record that is there by the time that a person has typed the next line."""

    promise_id: str
    table: str
    states: tuple[str, ...]
    database: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Ctrl-C in one terminal."""

    text: str


Act = Typed | Saved | Changed | Seen | Once | Waited | Stopped


def acts_of(page: Path) -> Iterator[Act]:
    """Yield what a reader of the page does and sees, in order."""
    said: dict[str, str] = {}
    for part in _PART.finditer(page.read_text()):
        key, value = part["key"], part["value"] or ""
        if key in MODIFIERS:
            said[key] = value
        elif key == "once":
            yield Once(value)
        elif key in _RECORDS:
            promise_id, _, database = value.partition(" in ")
            yield Waited(promise_id, *_RECORDS[key], database)
        elif key == "needs":
            name, _, other = value.partition(" of ")
            yield program_of(page.parent / other, name)
        elif key == "stop":
            yield Stopped(value)
        elif key is not None:
            raise AssertionError(f"{page.name}: {part[0]} is no comment that this reads")
        else:
            yield from _acts_of_block(part["language"], part["body"], said)
            said = {}


def program_of(page: Path, name: str) -> Saved:
    """Return a program that a page has."""
    programs = (act for act in acts_of(page) if isinstance(act, Saved))
    return next(program for program in programs if program.path == name)


def _acts_of_block(language: str, body: str, said: dict[str, str]) -> Iterator[Act]:
    match language:
        case _ if "elsewhere" in said:
            return
        case "console":
            yield from _typed(body, is_background="background" in said)
        case "text":
            yield Seen(tuple(line for line in body.splitlines() if line.strip(" …")))
        case "diff":
            lines = body.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] != "+")
            after = "".join(line[1:] for line in lines if line[0] != "-")
            yield Changed(said["change"], before, after)
        case _ if path := said.get("file") or _own_name(body):
            yield Saved(path, body)


def _own_name(body: str) -> str | None:
    found = _PROGRAM.match(body)
    return found and found[1]


def _typed(body: str, *, is_background: bool) -> Iterator[Typed]:
    for each in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        lines = each.splitlines()
        count = next(n for n, line in enumerate(lines, 1) if not line.endswith("\\"))
        yield Typed("\n".join(lines[:count]), "\n".join(lines[count:]).strip(), is_background)
