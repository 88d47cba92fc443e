"""From the address of a database to its storage, whichever kind it is."""

from holdfast_store.memory import MemoryStorage
from holdfast_store.storage import Storage

MEMORY = "memory:"


def open_storage(url: str) -> Storage:
    """Make the storage at an address, not connected yet; raise a `StorageError` for a wrong one.

    `memory:` needs nothing but the standard library: the database package is imported only for a
    database.
    """
    if url == MEMORY:
        return MemoryStorage()
    from holdfast_store.db import opening  # noqa: PLC0415 - see above

    return opening.open_storage(url)


def migrate(url: str) -> None:
    """Bring the tables at an address up to this version; nothing to do in memory."""
    if url == MEMORY:
        return
    from holdfast_store.db import migrate as migration  # noqa: PLC0415 - see above

    migration.migrate(url)
