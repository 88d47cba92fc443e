"""Each image has the packages that its process imports: a build would not notice a missing one."""

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.unit.images.dockerfile import IMAGES, PARTS, ROOT
from tools.gen_locks import parse

FOLDERS = (ROOT, ROOT / "sdk", *(path for path in (ROOT / "services").iterdir()))
OURS = ("holdfast", "tests", "tools")


@cache
def packages() -> Mapping[str, list[str]]:
    """Name the distributions that bring each top module."""
    return packages_distributions()


def find(module: str) -> Path | None:
    """Find the file of one of our modules."""
    for folder in FOLDERS:
        path = folder.joinpath(*module.split("."))
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


@cache
def imported(path: Path) -> frozenset[str]:
    """Name what a module imports, at the top or later: modules, and perhaps members of them."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(source), names=names, level=0):
                yield source
                yield from (f"{source}.{alias.name}" for alias in names)
            case ast.ImportFrom():
                pytest.fail(f"{path} has a relative import, which this check does not follow")


def starts(image: str) -> list[str]:
    """Name the modules of an image that something may import by its name."""
    if image not in PARTS:
        return ["tests.e2e.verify"]
    folder = ROOT / "services" / image
    paths = (folder / f"holdfast_{image}").rglob("*.py")
    return [".".join(path.relative_to(folder).with_suffix("").parts) for path in paths]


def reached(image: str) -> tuple[set[str], set[str]]:
    """Follow imports in an image; return our modules and the top names of other ones."""
    ours: set[str] = set()
    others: set[str] = set()
    queue = starts(image)
    while queue:
        module = queue.pop()
        top = module.partition(".")[0]
        if not top.startswith(OURS):
            others.add(top)
        elif module not in ours and (path := find(module)):
            ours.add(module)
            queue += [module.rpartition(".")[0]] if "." in module else []
            queue += imported(path)
    return ours, others - sys.stdlib_module_names


@pytest.mark.parametrize("image", IMAGES)
def test_each_image_has_the_packages_that_its_process_imports(image: str) -> None:
    _, modules = reached(image)
    pins = parse((ROOT / "locks" / f"{image}.lock").read_text())
    distributions = packages()

    assert "grpc" in modules
    missing = [
        module
        for module in sorted(modules)
        if not any(name.lower().replace("_", "-") in pins for name in distributions.get(module, []))
    ]
    assert not missing


@pytest.mark.parametrize("image", IMAGES)
def test_each_image_has_the_sources_that_its_process_imports(image: str) -> None:
    ours, _ = reached(image)
    allowed = (
        ("tests.e2e", "holdfast")
        if image == "e2e"
        else ("holdfast", "holdfast_chassis", f"holdfast_{image}")
    )

    assert len(ours) > 10
    stray = [
        name
        for name in sorted(ours)
        if not f"{name}.".startswith(tuple(f"{each}." for each in allowed))
    ]
    assert not stray
