"""`holdfast queues` and `holdfast members`: the work of groups, and who is there to do it."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from holdfast.core.ids import HTTP_GROUP
from holdfast.errors import ResonateError
from holdfast.rpc.access import access_of
from holdfast.rpc.admin import Admin, Queue
from holdfast.settings import read_environment
from holdfast_cli.dev import STATE_FILE
from holdfast_cli.errors import CommandFailed, UsageError

_T = TypeVar("_T")


def command(*, store: str | None, data: Path) -> int:
    """Print the queues of a store once; without an address, of the `holdfast dev` on `data`."""
    queues = _ask(store, data, Admin.get_queues)
    shown = list(filter(_concerns_somebody, queues))
    columns = [field.name for field in fields(Queue)]
    if not any(queue.counted_age_ms for queue in shown):
        columns.remove("counted_age_ms")
    _print_table([columns, *([getattr(queue, each) for each in columns] for queue in shown)])
    return 0


def members(*, store: str | None, data: Path) -> int:
    """Print who is connected, and to which store, of all stores behind the address."""
    found = _ask(store, data, Admin.list_members)
    rows = [(m.pid, m.store, m.credits, m.held, ",".join(m.groups)) for m in found]
    _print_table([("pid", "store", "free_credits", "held", "groups"), *rows])
    return 0


def _print_table(rows: Sequence[Sequence[object]]) -> None:
    """Print columns as wide as they must be, numbers at the right of theirs."""
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    is_number = [isinstance(cell, int) for cell in rows[-1]]
    for row in rows:
        cells = (
            f"{cell!s:>{width}}" if right else f"{cell!s:<{width}}"
            for cell, width, right in zip(row, widths, is_number, strict=True)
        )
        print("  ".join(cells).rstrip())


def _concerns_somebody(queue: Queue) -> bool:
    """Leave out the gateways' own group as long as nothing is to be sent to HTTP addresses."""
    tasks = queue.due + queue.running + queue.suspended + queue.halted
    return queue.group != HTTP_GROUP or tasks > 0


def _ask(store: str | None, data: Path, question: Callable[[Admin], Awaitable[_T]]) -> _T:
    return asyncio.run(_answered(address_of(data) if store is None else store, question))


async def _answered(store: str, question: Callable[[Admin], Awaitable[_T]]) -> _T:
    try:
        access = access_of(read_environment(os.environ))
        async with Admin(store, access=access) as admin:
            return await question(admin)
    except ValueError as error:
        raise UsageError(f"--store is {store!r}: {error}.") from error
    except ResonateError as error:
        raise CommandFailed(f"The store does not tell: {error}.") from error


def address_of(data: Path) -> str:
    """Return the address of the store of the `holdfast dev` that runs on a data directory."""
    try:
        state = json.loads((data / STATE_FILE).read_text())
    except FileNotFoundError as error:
        msg = f"No holdfast dev runs on {data}; name a store with --store grpc://HOST:PORT."
        raise CommandFailed(msg) from error
    return ",".join(state["store"])
