"""The world outside of processes: their steps do what a test has written into a folder, a cue each.

A test holds a step, or lets it fail, for one workflow by its id or for all of them. Here are the
programs that understand cues, too: the real ones, with `Rehearsal` in place of what ships.
"""

import os
import sys
import time
import types
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import holdfast_db.__main__
import holdfast_db.outside
import holdfast_worker.__main__
import holdfast_worker.outside
from holdfast import Context, Resonate
from holdfast.testing.attempts import AttemptsFile
from holdfast_chassis.logs import get_logger
from holdfast_cli.__main__ import main as holdfast
from holdfast_worker.apps import shop, shop_bus

FOLDER: Final = "REHEARSAL"
"""The environment variable that names the folder of cues."""
ANY: Final = ""
HOLD: Final = "hold"
LONG: Final = "long-"
SHORT: Final = "short-"
WINDOWS_MS: Final = {LONG: 60_000, SHORT: 400}
"""How long the windows of purchases are, by what their keys begin with; others are as they are."""

log = get_logger("rehearsal")


class Cues:
    """The folder, for the test that writes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def hold(self, step: str, origin: str = ANY) -> None:
        """Keep whoever enters a step inside until `let_go`, or until his process is killed."""
        self._give(step, origin, HOLD)

    def fail(self, step: str, origin: str = ANY, *, times: int = 1) -> None:
        """Let the first attempts at a step raise an error that may be retried."""
        self._give(step, origin, str(times))

    def let_go(self, step: str, origin: str = ANY) -> None:
        (self._folder / _name(step, origin)).unlink()

    def clear(self) -> None:
        for cue in self._folder.iterdir():
            cue.unlink(missing_ok=True)

    def _give(self, step: str, origin: str, cue: str) -> None:
        (self._folder / "draft").write_text(cue)
        (self._folder / "draft").rename(self._folder / _name(step, origin))  # whole at once


class Rehearsal:
    """What steps take for the world outside."""

    def __init__(
        self,
        *,
        delay_ms: int = 0,
        delay_factor: float = 1,
        attempts: AttemptsFile | None = None,
    ) -> None:
        del delay_ms, delay_factor  # nothing takes time here but what a test holds
        assert attempts is not None, "the test reads the journal"
        self._attempts = attempts
        self._folder = Path(os.environ[FOLDER])

    def enter(self, ctx: Context, step: str) -> None:
        self._attempts.enter(ctx, step)
        while HOLD in (cues := self._cues(ctx, step)):
            time.sleep(0.01)
        if any(ctx.info.attempt <= int(cue) for cue in cues):
            raise ConnectionError(f"{step} fails, as the test asked")

    def ask_warehouse(self) -> None:
        return

    def take(self, ms: int) -> None:
        return

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def tell(self, line: str) -> None:
        log.info(line)

    def _cues(self, ctx: Context, step: str) -> list[str]:
        cues = []
        for origin in (ctx.origin_id, ANY):
            try:
                cues.append((self._folder / _name(step, origin)).read_text())
            except FileNotFoundError:
                continue
        return cues


def _name(step: str, origin: str) -> str:
    return f"{step}@{quote(origin, safe='')}"


def register(resonate: Resonate) -> None:
    """Register what the applications have no reason to have; a module of the worker."""
    resonate.register("broken", _broken)
    resonate.register("job-with-deadline", _job_with_deadline)


def _broken(ctx: Context) -> None:
    ctx.get_dependency(holdfast_worker.outside.DEPENDENCY).enter(ctx, "broken")


def _job_with_deadline(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.run(_broken, ctx.options(timeout=3))


def _with_windows(variant: types.ModuleType) -> Callable[..., Generator[Any, Any, Any]]:
    """Make the workflow of the shop whose window depends on the key; its code is the same."""
    original = variant.one_click_buy
    variants = {
        prefix: types.FunctionType(original.__code__, {**vars(variant), "WINDOW_MS": window_ms})
        for prefix, window_ms in WINDOWS_MS.items()
    }

    def one_click_buy(ctx: Context, item_id: str, key: str) -> Generator[Any, Any, Any]:
        found = [made for prefix, made in variants.items() if key.startswith(prefix)]
        return (yield from (found or [original])[0](ctx, item_id, key))

    return one_click_buy


def main(program: str) -> int:
    """Run the worker, the db worker, or the program that has them all."""
    for variant in (shop, shop_bus):
        variant.one_click_buy = _with_windows(variant)  # type: ignore[attr-defined] # as is
    for module in (holdfast_worker.__main__, holdfast_worker.outside, holdfast_db.outside):
        module.PretendOutside = Rehearsal  # type: ignore[attr-defined] # as above
    match program:
        case "worker":
            return holdfast_worker.__main__.main()
        case "db":
            return holdfast_db.__main__.main()
        case _:
            return holdfast()


if __name__ == "__main__":
    sys.exit(main(sys.argv.pop(1)))
