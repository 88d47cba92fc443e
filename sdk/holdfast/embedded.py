"""Finds the store that a client uses: remote, in memory, or one SQLite file.

The library does not import a service; whoever provides a store announces it as an entry point of
the group `holdfast.stores`, named by the scheme of the URL that it opens.
"""

import os
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from holdfast.errors import NotSupported
from holdfast.port import Store
from holdfast.settings import Environment

GROUP = "holdfast.stores"

MEMORY = ":memory:"


def open_embedded(path: str) -> Store:
    """Make an in-process store on a file, or in memory for `:memory:`; it is not started yet."""
    if path == MEMORY:
        name, url = "memory", "memory:"
    else:
        name, url = "sqlite", f"sqlite:///{Path(path).expanduser()}"
    found = entry_points(group=GROUP, name=name)
    for entry in found:
        make = entry.load()
        return cast("Store", make(url))
    raise NotSupported(
        f"no embedded store named {name} is installed: install holdfast[store], "
        "or name a remote store by url= or RESONATE_URL"
    )


def open_store(
    url: str | None,
    embedded: str | os.PathLike[str] | None,
    *,
    token: str | None,
    environment: Environment,
    timeout_s: float,
) -> Store:
    """Make the store that was named, remote before embedded; it is not started yet."""
    if url is not None:
        # gRPC is loaded only by programs that use it.
        from holdfast.rpc import RemoteStore  # noqa: PLC0415
        from holdfast.rpc.access import access_of  # noqa: PLC0415

        access = access_of(environment, token=token)
        return RemoteStore(url, access=access, timeout_s=timeout_s)
    return open_embedded(os.fspath(embedded) if embedded is not None else MEMORY)
