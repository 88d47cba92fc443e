"""Generate `holdfast.v1` from the files in `proto/`; with `--check`, say whether it is current.

All files are staged under one virtual folder, `holdfast/v1`, before protoc sees them. The imports
in the generated code are then right as they come, KEDA's contract included, and no text is
rewritten.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
TARGET = ROOT / "sdk" / "holdfast" / "v1"
INIT = '''"""The wire contract, generated from `proto/` by `make proto`; never edited."""\n'''


def main() -> int:
    """Generate, or compare with what is committed; return the exit code."""
    parser = argparse.ArgumentParser(description="Generate holdfast.v1 from proto/.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 on drift")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
        drift = describe_drift(fresh, read_tree(TARGET))
        if not drift:
            print("proto: sdk/holdfast/v1 is current")
            return 0
        if check:
            print(
                "proto: sdk/holdfast/v1 differs from proto/; run `make proto`", *drift, sep="\n  "
            )
            return 1
        write_tree(TARGET, fresh)
        print("proto: wrote sdk/holdfast/v1", *drift, sep="\n  ")
        return 0


def generate(folder: Path) -> dict[str, bytes]:
    """Run protoc in a scratch folder; return the generated files by name."""
    staged = folder / "proto" / "holdfast" / "v1"
    output = folder / "out"
    staged.mkdir(parents=True)
    output.mkdir()
    sources = [*PROTO.glob("holdfast/v1/*.proto"), *PROTO.glob("externalscaler/*.proto")]
    if not sources:
        sys.exit(f"proto: no .proto files below {PROTO}")
    for source in sources:
        shutil.copy(source, staged)
    include = resources.files("grpc_tools") / "_proto"  # google/protobuf/*.proto
    plugins = Path(sys.executable).parent  # protoc-gen-mypy and -mypy_grpc of this environment
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        *(f"-I{folder / 'proto'}", f"-I{include}"),
        *(f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}", f"--mypy_out=quiet:{output}"),
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--mypy_grpc_out=quiet:{output}",
        *(f"--python_out={output}", f"--grpc_python_out={output}"),
        *sorted(f"holdfast/v1/{source.name}" for source in sources),
    ]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit("proto: protoc failed, see above")
    return {"__init__.py": INIT.encode(), **read_tree(output / "holdfast" / "v1")}


def read_tree(folder: Path) -> dict[str, bytes]:
    """Read the Python files of a flat folder by name."""
    paths = [*folder.glob("*.py"), *folder.glob("*.pyi")]
    return {path.name: path.read_bytes() for path in paths}


def write_tree(folder: Path, files: dict[str, bytes]) -> None:
    """Make the Python files of a folder exactly these."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in read_tree(folder).keys() - files.keys():
        (folder / name).unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def describe_drift(fresh: dict[str, bytes], committed: dict[str, bytes]) -> list[str]:
    """Say for each file that differs how it does."""
    lines = []
    for name in sorted(fresh.keys() | committed.keys()):
        if name not in committed:
            lines.append(f"{name}: missing")
        elif name not in fresh:
            lines.append(f"{name}: has no source any more")
        elif fresh[name] != committed[name]:
            new, old = (set(text[name].splitlines()) for text in (fresh, committed))
            lines.append(f"{name}: {len(new - old)} lines new, {len(old - new)} lines gone")
    return lines


if __name__ == "__main__":
    sys.exit(main())
