"""What pages tell to type exists: targets of make, commands of ours with their flags."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from holdfast_cli.__main__ import COMMANDS
from tests.tidy.markdown import PAGES, ROOT, name_of

_FENCE = re.compile(r"^ *```(?:sh|console)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
SERVICES = {
    "holdfast-store": "holdfast_store",
    "holdfast-gateway": "holdfast_gateway",
    "holdfast-worker": "holdfast_worker",
    "holdfast-db": "holdfast_db",
    "holdfast-operator": "holdfast_operator",
}


@cache
def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def help_of(*command: str) -> str:
    """Return what a command says about itself; one that does not exist says so."""
    asked = subprocess.run(
        [sys.executable, "-m", *command, "--help"], capture_output=True, text=True, check=False
    )
    return asked.stdout if asked.returncode == 0 else ""


def commands_of(text: str) -> Iterator[list[str]]:
    """Yield the words of each command that a page has, in blocks and in prose."""
    fences = _FENCE.findall(text)
    inline = _INLINE.findall(re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE))
    for line in [*"".join(fences).replace("\\\n", " ").splitlines(), *inline]:
        try:
            words = shlex.split(line.removeprefix("$ "), comments=True)
        except ValueError:  # output with a quotation mark of its own
            continue
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            del words[0]
        if words:
            yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


def flaws_of(text: str) -> Iterator[str]:
    for program, *words in commands_of(text):
        if program == "make":
            for word in words:
                if re.fullmatch("[a-z0-9-]+", word) and word not in targets():
                    yield f"make {word}"
        elif program == "holdfast":
            yield from _flaws("holdfast_cli", words, COMMANDS)
        elif program in SERVICES:
            module = SERVICES[program]
            commands = re.findall(r"^    ([a-z-]+)  ", help_of(module), re.MULTILINE)
            yield from _flaws(module, words, {name: {} for name in commands})


def _flaws(module: str, words: list[str], commands: Mapping[str, Any]) -> Iterator[str]:
    """Follow the words down to a command, then look for its flags in its help."""
    path = [module]
    for word in words:
        if word.startswith("--"):
            flag = word.partition("=")[0]
            if not re.search(rf"(?<![\w-]){flag}(?![\w-])", help_of(*path)):
                yield " ".join([*path, flag])
        elif commands and re.fullmatch("[a-z][a-z-]*", word):
            if word not in commands:
                yield " ".join([*path, word])
                return
            commands = commands[word]
            path.append(word)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_tells_to_type_exists(page: Path) -> None:
    assert list(flaws_of(page.read_text())) == []


def test_what_does_not_exist_is_found() -> None:
    text = (
        "`make nothing`, `make bench SECONDS=3`, `holdfast dev --worker 3`, `holdfast sing`\n\n"
        "```console\n$ A=b .venv/bin/holdfast promises \\\n    eat --state x\n"
        "$ holdfast-store serve --nonsense 1 # why\nholdfast | it's output\n```\n"
    )

    assert list(flaws_of(text)) == [
        "holdfast_cli promises eat",
        "holdfast_store serve --nonsense",
        "make nothing",
        "holdfast_cli dev --worker",
        "holdfast_cli sing",
    ]
