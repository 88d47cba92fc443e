"""The newest instant that was used in a SQLite file: whoever opens it next begins from there.

The clock of the machine may be set back while no process runs. A process that went by it then would
date what it does before what was done, and tell a promise pending that was told to be over.

A bound is written down in the transaction that passes the one before, a little ahead, so that one
batch of many has that to do. It rides in the row of the file's one writer.
"""

from typing import Final

from holdfast.core.records import PromiseState
from holdfast_store.db.session import Session
from holdfast_store.db.statements import Statements
from holdfast_store.storage import Loaded

AHEAD_MS: Final = 50
"""How far ahead the bound is: as far as time may jump when a store is killed and another one starts
in less than that."""

WRITER: Final = "clock"
NO_BATCH: Final = 0


class Newest:
    """Keeps the bound of one file ahead of what is done in it.

    Invariant: no transaction that stands has an instant behind the bound, nor was a deadline told
    to have passed that lies behind it.
    """

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self.bound_ms = 0
        """An instant that nothing in the file lies behind, as far as is known here."""
        self._used_ms = 0

    def read(self, session: Session) -> None:
        """Read what an earlier process wrote down."""
        [(newest_ms,)] = session.fetch(self._statements.newest)
        self.bound_ms = self._used_ms = newest_ms or 0

    def raised(self, session: Session, loaded: Loaded, *, changed: bool) -> int:
        """Write a new bound if this transaction needs one; answer the one that its commit makes."""
        now_ms = loaded.now_ms
        self._used_ms = max(self._used_ms, now_ms)  # a commit may happen unnoticed
        if now_ms <= self.bound_ms or not (changed or self._shows_passed(loaded)):
            return self.bound_ms
        self._save(session, now_ms + AHEAD_MS)
        return now_ms + AHEAD_MS

    def end(self, session: Session) -> None:
        """Take back what the bound is ahead: nothing follows in this process."""
        if self._used_ms < self.bound_ms:
            self._save(session, self._used_ms)

    def _shows_passed(self, loaded: Loaded) -> bool:
        """Whether it tells that a deadline has passed which no row says yet."""
        return any(
            promise.state is PromiseState.PENDING
            and self.bound_ms < promise.timeout_at_ms <= loaded.now_ms
            for promise in loaded.working_set.promises()
        )

    def _save(self, session: Session, bound_ms: int) -> None:
        session.run(self._statements.newest_save, (WRITER, NO_BATCH, bound_ms))
