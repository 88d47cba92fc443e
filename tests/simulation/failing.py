"""A connection to a SQLite file whose every statement may fail, or be the last of its process."""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.faults import Died

if TYPE_CHECKING:
    from tests.simulation.sqlite_file import FileView

ANY_STATEMENT: Final = ("SQLITE_BUSY", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_NOMEM")
"""What may befall a statement that asks nothing wrong."""
ANY_WRITE: Final = (*ANY_STATEMENT, "SQLITE_CONSTRAINT", "SQLITE_TOOBIG")
"""The same, and what is said of its data."""
ANY_INSERT: Final = (*ANY_WRITE, "SQLITE_CONSTRAINT_PRIMARYKEY")
CODES: Final = {"INSERT": ANY_INSERT, "UPDATE": ANY_WRITE, "DELETE": ANY_WRITE}
ENDS_TRANSACTION: Final = ("SQLITE_IOERR", "SQLITE_FULL", "SQLITE_NOMEM")
"""After these SQLite may have undone the whole transaction by itself."""


def failure(name: str) -> sqlite3.Error:
    """Make an error as the driver raises it."""
    kind = sqlite3.IntegrityError if "CONSTRAINT" in name else sqlite3.OperationalError
    error = kind(f"the dice say {name}")
    error.sqlite_errorname = name
    error.sqlite_errorcode = getattr(sqlite3, name)
    return error


class FailingConnection:
    """A connection whose statements fail before, within or after what they do."""

    def __init__(self, connection: sqlite3.Connection, view: "FileView") -> None:
        self._connection = connection
        self._view = view
        self._faults = view.database.faults

    @property
    def in_transaction(self) -> bool:
        return self._view.is_alive() and self._connection.in_transaction

    def close(self) -> None:
        self._connection.close()

    def execute(self, text: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        run = partial(self._connection.execute, text, parameters)
        return self._commit(run) if text == "COMMIT" else self._run(text, run)

    def executemany(self, text: str, rows: Sequence[Sequence[Any]]) -> sqlite3.Cursor:
        if len(rows) > 1 and self._faults.strikes("statement failed between two rows"):
            done = self._faults.rng.randrange(1, len(rows))
            self._connection.executemany(text, rows[:done])
            self._fail(text)
        return self._run(text, partial(self._connection.executemany, text, rows))

    def _run(self, text: str, run: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        self._go_on()
        if self._faults.strikes("statement failed before"):
            self._fail(text)
        try:
            done = run()
        except sqlite3.Error as error:
            found = f"{text} failed, and no dice said so: {error}"
            self._view.database.judge.broken.append(found)
            raise
        if self._faults.strikes("statement failed after"):
            self._fail(text)
        self._go_on()
        return done

    def _commit(self, run: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        self._go_on()
        if self._faults.strikes("commit failed, not done"):
            self._fail("COMMIT")
        done = run()
        self._view.committed()
        self._go_on()
        if self._faults.strikes("commit failed, done"):
            raise failure(self._faults.rng.choice(("SQLITE_IOERR", "SQLITE_CORRUPT")))
        return done

    def _go_on(self) -> None:
        """Die here, now and then; whoever is dead does not go on."""
        if self._view.is_alive() and self._faults.strikes("store crashed at a statement"):
            self._view.crash()
        if not self._view.is_alive():
            raise Died

    def _fail(self, text: str) -> None:
        name = self._faults.rng.choice(CODES.get(text.partition(" ")[0], ANY_STATEMENT))
        is_undone = name in ENDS_TRANSACTION and self._faults.rng.random() < 0.5
        if is_undone and self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        raise failure(name)
