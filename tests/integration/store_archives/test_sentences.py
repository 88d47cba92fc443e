"""What stands in the way of a check, an export or an import is one sentence and an exit code."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast_store.commands import check_command, export_command, import_command
from holdfast_store.settings import CheckSettings, ExportSettings, ImportSettings
from tests.integration.store_archives.files import execute, migrated, tables_of, url_of, write
from tests.unit.holdfast.core.rows import AWAITED, store


class Commands:
    """Runs a command in this process, and reads what it says."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def check(
        self, database: str | Path, *, await_internal: str = "reject"
    ) -> tuple[int, str, str]:
        settings = CheckSettings(database_url=_url(database), await_internal=await_internal)
        return self._ended(check_command(settings))

    def export(self, database: str | Path, file: Path) -> tuple[int, str, str]:
        return self._ended(
            export_command(ExportSettings(database_url=_url(database), file=str(file)))
        )

    def import_(self, database: str | Path, file: Path) -> tuple[int, str, str]:
        return self._ended(
            import_command(ImportSettings(database_url=_url(database), file=str(file)))
        )

    def _ended(self, code: int) -> tuple[int, str, str]:
        said = self._capsys.readouterr()
        return code, said.out, said.err


def _url(database: str | Path) -> str:
    return database if isinstance(database, str) else url_of(database)


@pytest.fixture
def commands(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


def test_what_cannot_be_checked_is_said(tmp_path: Path, commands: Commands) -> None:
    ahead, bare, text = migrated(tmp_path / "ahead.db"), tmp_path / "bare.db", tmp_path / "text.db"
    execute(ahead, "INSERT INTO schema_floors VALUES ('9999', '9998')")
    execute(bare, "CREATE TABLE other (x)")
    text.write_text("no database" * 1_000)
    before = tables_of(bare)

    for database, words in (
        ("memory:", "memory: keeps nothing that another process could read"),
        ("mysql://x", "HOLDFAST_STORE_DATABASE_URL is not usable"),
        (tmp_path / "absent.db", "there is no file"),
        (ahead, "a newer version has contracted the tables, use that one"),
        (bare, "the database has revision none, this version needs "),
        (text, "file is not a database"),
    ):
        code, out, err = commands.check(database)

        assert (code, out) == (2, "")
        assert words in err
        assert len(err.splitlines()) == 1
    assert tables_of(bare) == before
    assert not (tmp_path / "absent.db").exists()


def test_what_is_broken_in_a_database_that_cannot_be_read_on_is_said(
    tmp_path: Path, commands: Commands
) -> None:
    path = migrated(tmp_path / "damaged.db")
    write(path, store(AWAITED))
    [(page, size)] = execute(
        path,
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master"
        " WHERE name = 'promises'",
    )
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)

    code, out, err = commands.check(path)

    assert code == 1
    assert out.startswith("D3 the database is whole: broken by the file; the file is ")
    assert "The database could not be checked to its end" in err


def test_of_many_rows_the_first_are_named(tmp_path: Path, commands: Commands) -> None:
    path = migrated(tmp_path / "many.db")
    rows = [replace(AWAITED, id=f"p{n:02}", settled_at_ms=200) for n in range(25)]
    write(path, store(*rows))

    code, out, _ = commands.check(path)

    assert code == 1
    line, last = out.splitlines()
    assert line.startswith("I3 settled iff dated, from creation to deadline: broken by p00, p01, ")
    assert ", p19 and 5 more; p00 is pending, created 100, settled 200, " in line
    assert last.endswith(": 1 invariant is broken, 25 times in all")


def test_the_profile_of_the_store_is_the_profile_of_its_check(
    tmp_path: Path, commands: Commands
) -> None:
    path = migrated(tmp_path / "internal.db")
    write(path, store(AWAITED, ("a", "poll://uni@g/1")))
    execute(path, "UPDATE promises SET tags = '{}'")

    strict = commands.check(path)
    allowing = commands.check(path, await_internal="allow")

    assert (strict[0], strict[1][:3]) == (1, "I8 ")
    assert allowing[0] == 0, allowing


def test_what_cannot_be_exported_is_said(tmp_path: Path, commands: Commands) -> None:
    path, file = migrated(tmp_path / "a.db"), tmp_path / "a.jsonl"
    odd = migrated(tmp_path / "odd.db")
    write(odd, store(AWAITED))
    execute(odd, "UPDATE promises SET tags = '{'")
    before = path.read_bytes()

    for database, target, code, words in (
        (path, path, 2, "a.db exists already; export writes new files only"),
        (path, tmp_path / "no" / "a.jsonl", 1, "No such file or directory"),
        (tmp_path / "absent.db", file, 2, "there is no file"),
        ("memory:", file, 2, "memory: keeps nothing"),
        (odd, file, 1, "'a' cannot be read (promises: "),
    ):
        ended = commands.export(database, target)

        assert ended[:2] == (code, "")
        assert words in ended[2]
        assert len(ended[2].splitlines()) == 1
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.jsonl*")), "nothing half is left"


def test_what_cannot_be_imported_is_said(tmp_path: Path, commands: Commands) -> None:
    new, file = tmp_path / "new.db", tmp_path / "a.jsonl"
    bad, newer = tmp_path / "bad.jsonl", tmp_path / "newer.jsonl"
    full = migrated(tmp_path / "full.db")
    write(full, store(AWAITED))
    assert commands.export(full, file)[0] == 0
    bad.write_text("hello\n")
    header, *rest = file.read_text().splitlines()
    newer.write_text("\n".join([json.dumps(json.loads(header) | {"format": 2}), *rest, ""]))

    for database, source, code, words in (
        (new, tmp_path / "absent.jsonl", 2, "No such file or directory"),
        (new, tmp_path, 2, "Is a directory"),
        (new, bad, 1, "Nothing was imported: line 1: it is no JSON"),
        (new, newer, 1, "line 1, field format: the format is 2, this version reads 1"),
        ("memory:", file, 2, "memory: keeps nothing"),
        (tmp_path / "no" / "new.db", file, 2, "unable to open database file"),
        (full, file, 2, "the database is not empty: name a new one"),
    ):
        ended = commands.import_(database, source)

        assert ended[:2] == (code, "")
        assert words in ended[2]
        assert len(ended[2].splitlines()) == 1
    assert not new.exists(), "a file that is no export makes no database"
