"""From the address of a database to its storage."""

from pathlib import Path

from holdfast_store.db.errors import UnsupportedDatabase
from holdfast_store.db.sqlite import SqliteStorage

SQLITE = "sqlite:///"


def open_storage(url: str) -> SqliteStorage:
    """Make the storage at an address, not connected yet; raise `UnsupportedDatabase`."""
    return SqliteStorage(sqlite_path(url))


def sqlite_path(url: str) -> Path:
    """Answer the file that `sqlite:///relative.db` or `sqlite:////absolute.db` names."""
    scheme, colon, _ = url.partition(":")
    if scheme.partition("+")[0] in {"postgresql", "postgres"}:
        raise UnsupportedDatabase(
            "PostgreSQL is not built in yet: use sqlite:///FILE, or memory: for a trial"
        )
    if not url.startswith(SQLITE):
        shown = scheme + colon if colon else "no scheme"
        raise UnsupportedDatabase(
            f"a database address starts with {SQLITE} (and a file) or is memory:, "
            f"this one has {shown}"
        )
    name = url.removeprefix(SQLITE)
    if not name or name == ":memory:" or "?" in name or "#" in name:
        raise UnsupportedDatabase(
            f"{SQLITE} needs the name of a file without options, as in sqlite:///holdfast.db "
            "(four slashes before an absolute one); memory: keeps everything in memory"
        )
    return Path(name)
