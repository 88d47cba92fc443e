"""Finding the functions to serve: dotted modules, each with `def register(resonate) -> None`.

A function and not a decorator at import time: importing a module then has no effect, one module can
be registered with several clients, and dependencies can be set beside the functions that need them.
"""

import importlib
from collections.abc import Iterable

from holdfast import Resonate
from holdfast_chassis.lifecycle import StartFailed


def register_modules(names: Iterable[str], resonate: Resonate) -> None:
    """Import each module and let it register its functions; raises StartFailed when one cannot."""
    for name in names:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise StartFailed(f"The module {name} cannot be imported: {error}.") from error
        register = getattr(module, "register", None)
        if not callable(register):
            raise StartFailed(f"The module {name} has no function register(resonate).")
        register(resonate)
