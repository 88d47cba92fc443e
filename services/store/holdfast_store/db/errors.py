"""What a database's refusal means to the engine, and what is wrong with a schema."""

from holdfast_store.storage import SchemaMismatch, StorageRefused

__all__ = [
    "SchemaAhead",
    "SchemaBehind",
    "SchemaInUse",
    "SchemaMismatch",
    "SchemaTampered",
    "UnsupportedDatabase",
]


class UnsupportedDatabase(StorageRefused):
    """A database, or an address of one, that this version cannot serve."""

    code = "unsupported_database"


class SchemaBehind(SchemaMismatch):
    """Migrations of this version have not run yet."""

    code = "schema_behind"


class SchemaAhead(SchemaMismatch):
    """A newer version has contracted the tables: they lack what this version needs."""

    code = "schema_ahead"


class SchemaTampered(SchemaMismatch):
    """A migration that ran is not the one that this version would run."""

    code = "schema_tampered"


class SchemaInUse(SchemaMismatch):
    """The tables cannot be contracted while programs run that need what goes away."""

    code = "schema_in_use"
