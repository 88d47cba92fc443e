"""A thread for the blocking calls on one connection that no batch needs."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from holdfast_store.db.sqlite import errors as sqlite_errors

R = TypeVar("R")


class SqliteThread:
    """Runs calls one after the other, and says what their failures mean."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sqlite-archive")

    async def run(self, call: Callable[[], R]) -> R:
        """Run a call; raise a `StorageError` for what SQLite refuses."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, call)
        except sqlite_errors.FAILURES as error:
            raise sqlite_errors.meaning_of(error, place=str(self._path)) from error

    def close(self) -> None:
        """End after the call that runs."""
        self._executor.shutdown()
