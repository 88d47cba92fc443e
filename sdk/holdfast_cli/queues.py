"""`holdfast queues`: how much work waits for which worker group."""

import asyncio
import json
import os
from dataclasses import astuple, fields
from pathlib import Path

from holdfast.core.ids import HTTP_GROUP
from holdfast.errors import ResonateError
from holdfast.rpc.access import access_of
from holdfast.rpc.admin import Admin, Queue
from holdfast.settings import read_environment
from holdfast_cli.dev import STATE_FILE
from holdfast_cli.errors import CommandFailed, UsageError


def command(*, store: str | None, data: Path) -> int:
    """Print the queues of a store once; without an address, of the `holdfast dev` on `data`."""
    queues = asyncio.run(_queues(address_of(data) if store is None else store))
    shown = filter(_concerns_somebody, queues)
    rows = [[field.name for field in fields(Queue)], *map(astuple, shown)]
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        name, *numbers = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join([f"{name.strip():<{widths[0]}}", *numbers]))
    return 0


def _concerns_somebody(queue: Queue) -> bool:
    """Leave out the gateways' own group as long as nothing is to be sent to HTTP addresses."""
    tasks = queue.due + queue.running + queue.suspended + queue.halted
    return queue.group != HTTP_GROUP or tasks > 0


async def _queues(store: str) -> list[Queue]:
    try:
        access = access_of(read_environment(os.environ))
        async with Admin(store, access=access) as admin:
            return await admin.get_queues()
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
