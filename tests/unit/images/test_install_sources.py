import py_compile
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from tests.unit.images.dockerfile import ROOT
from tools import install_sources
from tools.install_sources import commands, dist_info

PROJECT = {
    "name": "holdfast",
    "version": "1.2.3",
    "description": "Durable",
    "license": "Apache-2.0",
    "requires-python": ">=3.11",
    "scripts": {
        "holdfast-store": "holdfast_store.__main__:main",
        "holdfast-worker": "holdfast_worker.__main__:main",
    },
    "entry-points": {"holdfast.stores": {"sqlite": "holdfast_store.embedded:open_store"}},
}
CHECKED_HASH = b"\x03\x00\x00\x00"


def test_an_image_has_the_commands_and_entry_points_of_its_packages_only() -> None:
    store = dist_info(PROJECT, {"holdfast", "holdfast_store"})["entry_points.txt"]
    worker = dist_info(PROJECT, {"holdfast", "holdfast_worker"})["entry_points.txt"]

    assert store == (
        "[console_scripts]\nholdfast-store = holdfast_store.__main__:main\n"
        "\n[holdfast.stores]\nsqlite = holdfast_store.embedded:open_store\n"
    )
    assert worker == "[console_scripts]\nholdfast-worker = holdfast_worker.__main__:main\n"
    assert commands(PROJECT, {"holdfast", "holdfast_worker"}).keys() == {"holdfast-worker"}


def test_an_image_with_the_library_alone_has_no_command() -> None:
    assert not commands(PROJECT, {"holdfast"})
    assert not dist_info(PROJECT, {"holdfast"})["entry_points.txt"]


def test_a_command_runs_the_function_of_its_entry_point() -> None:
    text = commands(PROJECT, {"holdfast_store"})["holdfast-store"]

    assert text.startswith("#!/opt/venv/bin/python\n")
    assert "from holdfast_store.__main__ import main\n\nsys.exit(main())\n" in text


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one package of the real project, installed as an image's build does it."""
    package = tmp_path / "src" / "holdfast_store"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "engine.py").write_text("WORD = 'first'\n")
    monkeypatch.setattr(install_sources, "HERE", ROOT)
    monkeypatch.setattr("sys.argv", ["install_sources.py", str(tmp_path)])
    assert install_sources.main() == 0
    return tmp_path


def test_the_installed_distribution_is_found_by_its_metadata(installed: Path) -> None:
    (info,) = (installed / "src").glob("*.dist-info")

    distribution = Distribution.at(info)

    assert distribution.name == "holdfast"
    assert info.name == f"holdfast-{distribution.version}.dist-info"
    groups = {point.group for point in distribution.entry_points}
    assert groups == {"console_scripts", "holdfast.stores"}
    assert (info / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert [path.name for path in (installed / "bin").iterdir()] == ["holdfast-store"]
    assert (installed / "bin" / "holdfast-store").stat().st_mode & 0o777 == 0o755


def test_bytecode_is_compared_with_the_source_and_not_with_its_time(installed: Path) -> None:
    """Copies and builders change times; live sync changes sources."""
    (compiled,) = (installed / "src").glob("holdfast_store/__pycache__/engine.*.pyc")

    assert compiled.read_bytes()[4:8] == CHECKED_HASH


def test_a_source_that_cannot_be_compiled_ends_the_build(
    installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (installed / "src" / "holdfast_store" / "broken.py").write_text("def (\n")

    assert install_sources.main() == 1
    assert "broken.py" in capsys.readouterr().out


def test_the_form_of_the_bytecode_is_the_one_that_python_calls_checked(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("")
    mode = py_compile.PycInvalidationMode.CHECKED_HASH

    compiled = py_compile.compile(str(source), invalidation_mode=mode)

    assert compiled is not None
    assert Path(compiled).read_bytes()[4:8] == CHECKED_HASH
