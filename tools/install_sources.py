"""Make the packages in a folder an installed distribution: what the build of an image runs.

The sources lie in one folder that live sync can replace, not in site-packages, and each image has
those of its part only. What an installer would have left is written beside them: the metadata that
`importlib.metadata` reads, a command for each entry point whose package is there, and bytecode.
Runs with the image's Python and nothing else.
"""

import argparse
import compileall
import py_compile
import sys
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent  # where the build put pyproject.toml and what it names
# A process that is number 1 of its container has no default action for signals: a SIGTERM before
# its own handler exists would be lost, and the container killed when its grace period is over.
COMMAND = '''\
#!/opt/venv/bin/python
"""Runs {name}."""

import signal
import sys

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the process handles it itself

from {module} import {function}

sys.exit({function}())
'''


def main() -> int:
    """Install what is there; return the exit code."""
    parser = argparse.ArgumentParser(description="Install the packages of a folder in place.")
    parser.add_argument(
        "folder", type=Path, help="the packages are in its src; commands are written to its bin"
    )
    folder = parser.parse_args().folder
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    licenses = {f"licenses/{name}": (HERE / name).read_text() for name in project["license-files"]}
    packages = {path.name for path in (folder / "src").iterdir()}
    info = f"{project['name']}-{project['version']}.dist-info"
    write(folder / "src" / info, {**dist_info(project, packages), **licenses})
    write(folder / "bin", commands(project, packages), mode=0o755)
    return 0 if compile_all(folder / "src") else 1


def dist_info(project: Mapping[str, Any], packages: Collection[str]) -> dict[str, str]:
    """Describe the distribution, with the entry points whose package is there."""
    metadata = {
        "Metadata-Version": "2.4",
        "Name": project["name"],
        "Version": project["version"],
        "Summary": project["description"],
        "License-Expression": project["license"],
        "Requires-Python": project["requires-python"],
    }
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    return {
        "METADATA": "".join(f"{key}: {value}\n" for key, value in metadata.items()),
        "INSTALLER": "tools/install_sources.py\n",
        "entry_points.txt": "\n".join(
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
            for group, points in present(groups, packages).items()
        ),
    }


def present(
    groups: Mapping[str, Mapping[str, str]], packages: Collection[str]
) -> dict[str, dict[str, str]]:
    """Leave out the entry points whose package is not in this image, and empty groups."""
    kept = {
        group: {
            name: target for name, target in points.items() if target.partition(".")[0] in packages
        }
        for group, points in groups.items()
    }
    return {group: points for group, points in kept.items() if points}


def commands(project: Mapping[str, Any], packages: Collection[str]) -> dict[str, str]:
    """Write a command for each script whose package is there."""
    scripts = present({"scripts": project["scripts"]}, packages).get("scripts", {})
    texts = {}
    for name, target in scripts.items():
        module, _, function = target.partition(":")
        texts[name] = COMMAND.format(name=name, module=module, function=function)
    return texts


def write(folder: Path, files: Mapping[str, str], *, mode: int = 0o644) -> None:
    """Write files below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)


def compile_all(sources: Path) -> bool:
    """Compile the packages; say whether all could be.

    Python compares each file's hash, not its time: builders and copies change times, and a root
    that is read-only would then compile everything at each start. A file that live sync replaced
    is noticed all the same.
    """
    checked = py_compile.PycInvalidationMode.CHECKED_HASH
    return bool(compileall.compile_dir(sources, quiet=1, invalidation_mode=checked))


if __name__ == "__main__":
    sys.exit(main())
