"""What a database's refusal means to the engine, and what is wrong with a schema."""

from holdfast_store.storage import StorageError


class UnsupportedDatabase(StorageError):
    """A database address that this version cannot serve."""

    code = "unsupported_database"


class SchemaMismatch(StorageError):
    """The tables are not the ones that this version was written for."""

    code = "schema_mismatch"


class SchemaBehind(SchemaMismatch):
    """Migrations of this version have not run yet."""

    code = "schema_behind"


class SchemaAhead(SchemaMismatch):
    """A newer version has migrated the database."""

    code = "schema_ahead"


class SchemaTampered(SchemaMismatch):
    """A migration that ran is not the one that this version would run."""

    code = "schema_tampered"
