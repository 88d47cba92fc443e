"""From the address of a database to its storage, whichever kind it is."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from holdfast_store.archives.port import Archive, Records
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.storage import Storage, StorageError

if TYPE_CHECKING:
    from holdfast_store.db.revisions import Migration, Outlook

MEMORY = "memory:"


class NothingKept(StorageError):
    """What is asked for needs a database that outlives the process."""

    code = "nothing_kept"


def open_storage(url: str) -> Storage:
    """Make the storage at an address, not connected yet; raise a `StorageError` for a wrong one.

    `memory:` needs nothing but the standard library: the database package is imported only for a
    database.
    """
    if url == MEMORY:
        return MemoryStorage()
    from holdfast_store.db import opening  # noqa: PLC0415 - see above

    return opening.open_storage(url)


def open_archive(url: str) -> Archive:
    """Find the database at an address as a whole; raise a `StorageError` for a wrong one."""
    if url == MEMORY:
        raise NothingKept(
            "memory: keeps nothing that another process could read or fill: name a database, as "
            "in sqlite:///holdfast.db"
        )
    from holdfast_store.db import opening  # noqa: PLC0415 - see above

    return opening.open_archive(url)


def snapshots_of(url: str, storage: Storage) -> Callable[[], AbstractAsyncContextManager[Records]]:
    """Say how to read everything that an open storage at an address holds, at one instant."""
    if isinstance(storage, MemoryStorage):
        return storage.snapshot
    return open_archive(url).snapshot


def is_migrated_by_its_store(url: str) -> bool:
    """Whether a store brings the tables up to date when it starts.

    Not where several stores share them: the others may be of another version, and whoever replaces
    them decides when the tables change.
    """
    if url == MEMORY:
        return False
    from holdfast_store.db import opening  # noqa: PLC0415 - see above

    return not opening.is_postgres(url)


def migrate(
    url: str,
    *,
    contract: bool = False,
    told: "Callable[[Migration, float], None]" = lambda _migration, _seconds: None,
) -> str | None:
    """Add to the tables at an address what this version needs; nothing to do in memory.

    With `contract` also take away what only older versions use. `told` hears of each migration
    that ran and how many seconds it took; answers the newest revision of the database.
    """
    if url == MEMORY:
        return None
    from holdfast_store.db import migrate as migration  # noqa: PLC0415 - see above

    return migration.migrate(url, contract=contract, told=told)


def outlook(url: str) -> "Outlook | None":
    """Say which migrations a database lacks; `None` when it never needs any."""
    if url == MEMORY:
        return None
    from holdfast_store.db import migrate as migration  # noqa: PLC0415 - see above

    return migration.outlook(url)
