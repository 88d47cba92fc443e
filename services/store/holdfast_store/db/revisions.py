"""Which migrations this version knows, which ones ran, and whether the two agree.

Needs neither alembic nor SQLAlchemy, because every start of the store asks. The checksum of a
migration's file is stored when it runs: a file that changes afterwards would give two databases of
the same revision different tables.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from holdfast_store.db.errors import SchemaAhead, SchemaBehind, SchemaTampered

MIGRATIONS = Path(__file__).parent / "migrations"


@cache
def known_revisions(folder: Path = MIGRATIONS) -> Mapping[str, str]:
    """List each revision with the checksum of its file, oldest first.

    The name of a file is its revision, an underscore, and what it is about.
    """
    return {
        path.name.partition("_")[0]: _checksum(path)
        for path in sorted((folder / "versions").glob("[0-9]*_*.py"))
    }


def expected_revision(folder: Path = MIGRATIONS) -> str:
    """Name the revision that this version needs."""
    return list(known_revisions(folder))[-1]


def _checksum(path: Path) -> str:
    # A checkout may have rewritten the line ends.
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def check_history(applied: Mapping[str, str], folder: Path = MIGRATIONS) -> list[str]:
    """Raise unless every applied revision is known and unchanged; answer what is missing."""
    known = known_revisions(folder)
    for revision, checksum in applied.items():
        if revision not in known:
            raise SchemaAhead(
                f"the database has revision {revision}, this version knows only up to "
                f"{expected_revision(folder)}: a newer version has migrated it; use that one"
            )
        if known[revision] != checksum:
            raise SchemaTampered(
                f"migration {revision} has changed since it ran on this database: restore its file "
                "from the release that ran it, and put the change into a new migration"
            )
    return [revision for revision in known if revision not in applied]


def check_current(applied: Mapping[str, str]) -> None:
    """Raise unless exactly the known revisions ran."""
    missing = check_history(applied)
    if missing:
        current = list(applied)[-1] if applied else "none"
        raise SchemaBehind(
            f"the database has revision {current}, this version needs {missing[-1]}: "
            "run `holdfast-store migrate`"
        )
