"""Promises in a database: tables, statements, migrations, and the storage built on them.

Databases are known by name in `dialects` alone; every rule stays in `holdfast.core`.
"""

from holdfast_store.db.opening import open_storage

__all__ = ["open_storage"]
