"""Reads the Dockerfile and .dockerignore, as far as the checks need it."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parents[3]
PARTS = ("store", "gateway", "worker", "db", "operator")
IMAGES = (*PARTS, "e2e")


@dataclass(slots=True)
class Stage:
    """One FROM and what follows it: instructions as (word, rest of the line)."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def get(self, word: str) -> list[str]:
        """Return what all instructions of one kind say."""
        return [rest for kind, rest in self.instructions if kind == word]


class Dockerfile:
    """The arguments before the first stage, and the stages by name."""

    def __init__(self, text: str) -> None:
        self.arguments: dict[str, str] = {}
        self.stages: dict[str, Stage] = {}
        stage = None
        for word, rest in instructions(text):
            if word == "FROM":
                base, _, name = rest.partition(" AS ")
                stage = self.stages[name] = Stage(name, base)
            elif stage is not None:
                stage.instructions.append((word, rest))
            else:
                assert word == "ARG", f"{word} stands before the first FROM"
                name, _, value = rest.partition("=")
                self.arguments[name] = value

    def lineage(self, name: str) -> list[Stage]:
        """List the stages that an image consists of, from the lowest up."""
        stage = self.stages[name]
        below = self.lineage(stage.base) if stage.base in self.stages else []
        return [*below, stage]

    def all(self, name: str, word: str) -> list[str]:
        """List what the instructions of one kind say to an image, inherited ones first."""
        return [rest for stage in self.lineage(name) for rest in stage.get(word)]

    def pairs(self, name: str, word: str) -> dict[str, str]:
        """Return the environment or the labels of an image."""
        words = [each for rest in self.all(name, word) for each in shlex.split(rest)]
        return dict(each.split("=", 1) for each in words)

    def copies(self, name: str) -> list[tuple[str | None, list[str], str]]:
        """List what an image copies: from which stage, or from the context; what; where to."""
        found = []
        for rest in self.all(name, "COPY"):
            words = rest.split()
            stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--") else None
            found.append((stage, words[:-1], words[-1]))
        return found


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Split a Dockerfile into instructions; comments are dropped, lines that go on are joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, re.sub(r"\s+", " ", rest).strip()


def read() -> Dockerfile:
    """Read the Dockerfile of the repository."""
    return Dockerfile((ROOT / "Dockerfile").read_text())


def ignore_patterns() -> list[str]:
    """Read .dockerignore."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def reaches_the_builder(path: str) -> bool:
    """Say whether a file or folder passes .dockerignore: the last pattern that matches decides."""
    passes = True
    for pattern in ignore_patterns():
        plain = pattern.removeprefix("!")
        parents = [path, *(str(parent) for parent in Path(path).parents)]
        names = plain.removeprefix("**/")
        if any(fnmatchcase(each, plain) for each in parents[:-1]) or (
            plain != names and any(fnmatchcase(part, names) for part in Path(path).parts)
        ):
            passes = pattern.startswith("!")
    return passes
