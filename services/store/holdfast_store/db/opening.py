"""From the address of a database to its storage."""

from pathlib import Path
from typing import Final

from holdfast_store.archives.port import Archive
from holdfast_store.db.errors import UnsupportedDatabase
from holdfast_store.db.sqlite.archive import SqliteArchive
from holdfast_store.db.sqlite.storage import SqliteStorage
from holdfast_store.storage import Storage

SQLITE: Final = "sqlite:///"
POSTGRES: Final = ("postgresql", "postgres")


def open_storage(url: str) -> Storage:
    """Make the storage at an address, not connected yet; raise `UnsupportedDatabase`."""
    if is_postgres(url):
        # Here, because a store on a file needs no driver of PostgreSQL.
        from holdfast_store.db.postgres.storage import PostgresStorage  # noqa: PLC0415

        return PostgresStorage(url)
    return SqliteStorage(sqlite_path(url))


def open_archive(url: str) -> Archive:
    """Find the database at an address as a whole; raise `UnsupportedDatabase`."""
    if is_postgres(url):
        from holdfast_store.db.postgres.archive import PostgresArchive  # noqa: PLC0415 - see above

        return PostgresArchive(url)
    return SqliteArchive(sqlite_path(url))


def is_postgres(url: str) -> bool:
    """Whether an address names a PostgreSQL server; raise for one that chooses the driver too."""
    scheme = url.partition(":")[0]
    name, plus, _ = scheme.partition("+")
    if name in POSTGRES and (plus or not url.startswith(f"{name}://")):
        raise UnsupportedDatabase(
            "a PostgreSQL address starts with postgresql:// and names no driver: "
            "the store brings its own"
        )
    return name in POSTGRES


def sqlite_path(url: str) -> Path:
    """Answer the file that `sqlite:///relative.db` or `sqlite:////absolute.db` names."""
    scheme, colon, _ = url.partition(":")
    if not url.startswith(SQLITE):
        shown = scheme + colon if colon else "no scheme"
        raise UnsupportedDatabase(
            f"a database address starts with {SQLITE} (and a file), or postgresql://, "
            "or is memory:, "
            f"this one has {shown}"
        )
    name = url.removeprefix(SQLITE)
    if not name or name == ":memory:" or "?" in name or "#" in name:
        raise UnsupportedDatabase(
            f"{SQLITE} needs the name of a file without options, as in sqlite:///holdfast.db "
            "(four slashes before an absolute one); memory: keeps everything in memory"
        )
    return Path(name)
