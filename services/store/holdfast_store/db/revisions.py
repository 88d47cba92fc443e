"""Which migrations this version knows, which ones ran, and whether the two get along.

A migration expands the tables unless its file says `needs = REVISION` at its top level. What
expands adds only what an older version does not notice, so that stores of both versions run side
by side. What has `needs` contracts: it takes something away, or changes it, and from then on the
database belongs to versions that know that revision at least. The database remembers this floor.

Needs neither alembic nor SQLAlchemy, because every start of the store asks. The checksum of a
migration's file is stored when it runs: a file that changes afterwards would give two databases of
the same revision different tables.
"""

import ast
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from holdfast_store.db.errors import SchemaAhead, SchemaBehind, SchemaTampered

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file of migrations."""

    revision: str
    about: str
    checksum: str
    needs: str | None
    """The revision that every program must know that uses the tables afterwards; `None` if any
    may."""
    path: Path

    @property
    def phase(self) -> str:
        """Say in one word what it does to programs of an older version."""
        return "expand" if self.needs is None else "contract"

    def __str__(self) -> str:
        return f"{self.phase} {self.revision} ({self.about})"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What ran on a database, each with the checksum of its file, oldest first; and its floor."""

    applied: Mapping[str, str]
    floor: str | None = None
    """The revision that a program must know to use the database; `None` if any may."""

    @property
    def newest(self) -> str | None:
        """Name the newest revision that ran."""
        return max(self.applied, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What has not run yet."""

    newest: str | None
    expanding: Sequence[Migration]
    contracting: Sequence[Migration]

    def wanted(self, *, contract: bool) -> list[Migration]:
        """List in their order those that a run would do."""
        chosen = [*self.expanding, *(self.contracting if contract else ())]
        return sorted(chosen, key=lambda each: each.revision)


@cache
def known_migrations(folder: Path = MIGRATIONS) -> Sequence[Migration]:
    """List the migrations of this version, oldest first.

    The name of a file is its revision, an underscore, and what it is about.
    """
    return [_read(path) for path in sorted((folder / "versions").glob("[0-9]*_*.py"))]


def known_revisions(folder: Path = MIGRATIONS) -> Mapping[str, str]:
    """List each revision with the checksum of its file, oldest first."""
    return {each.revision: each.checksum for each in known_migrations(folder)}


def expected_revision(folder: Path = MIGRATIONS) -> str:
    """Name the newest revision that this version knows."""
    return known_migrations(folder)[-1].revision


def _read(path: Path) -> Migration:
    # A checkout may have rewritten the line ends.
    content = path.read_bytes().replace(b"\r\n", b"\n")
    revision, _, about = path.stem.partition("_")
    return Migration(
        revision=revision,
        about=about.replace("_", " "),
        checksum=hashlib.sha256(content).hexdigest(),
        needs=_needs(content),
        path=path,
    )


def _needs(content: bytes) -> str | None:
    """Read the one line that matters without running the file."""
    for statement in ast.parse(content).body:
        match statement:
            case ast.Assign(
                targets=[ast.Name(id="needs")], value=ast.Constant(value=str() as revision)
            ):
                return revision
    return None


def check_history(history: History, folder: Path = MIGRATIONS) -> list[Migration]:
    """Raise unless this version may use what ran; answer which of its own did not run.

    A revision of a newer version is no obstacle by itself: only the floor is.
    """
    known = known_revisions(folder)
    newest = expected_revision(folder)
    for revision, checksum in history.applied.items():
        if revision in known and known[revision] != checksum:
            raise SchemaTampered(
                f"migration {revision} has changed since it ran on this database: restore its file "
                "from the release that ran it, and put the change into a new migration"
            )
        if revision not in known and revision < newest:
            raise SchemaTampered(
                f"migration {revision} ran on this database and is none of this version's, which "
                f"knows others up to {newest}: use the version that ran it, or one that follows it"
            )
    if history.floor is not None and history.floor > newest:
        raise SchemaAhead(
            f"the database has revision {history.newest} and may be used only by versions that "
            f"know revision {history.floor}; this one knows only up to {newest}: a newer version "
            "has contracted the tables, use that one"
        )
    return [each for each in known_migrations(folder) if each.revision not in history.applied]


def check_current(history: History, folder: Path = MIGRATIONS) -> None:
    """Raise unless this version may use the tables and finds in them all that it needs.

    What only contracts may be missing: a version runs before and after it.
    """
    missing = [each for each in check_history(history, folder) if each.needs is None]
    if missing:
        raise SchemaBehind(
            f"the database has revision {history.newest or 'none'}, this version needs "
            f"{missing[-1].revision}: run `holdfast-store migrate`"
        )
