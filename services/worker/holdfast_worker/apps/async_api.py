"""The smallest split: one function, called by its name from a process that knows nothing of it.

`fooSaved` is the same with a third group: what the function returns is kept by the db group, too.
"""

import json
import time
from collections.abc import Generator
from typing import Any, Final

from holdfast import Context, Never, Resonate
from holdfast_worker.outside import DEPENDENCY, Outside

DB: Final = "poll://any@db"
SEPARATORS: Final = (",", ":")  # JSON as the original's language writes it


def foo(ctx: Context, data: Any) -> dict[str, object]:  # noqa: ANN401 - any JSON
    """Process whatever was sent."""
    outside: Outside = ctx.get_dependency(DEPENDENCY)
    outside.enter(ctx, "foo")
    text = json.dumps(data, separators=SEPARATORS, ensure_ascii=False)
    outside.tell(f"processing on worker: {text}")
    return {"result": f"Processed: {text}", "timestamp": time.time_ns() // 1_000_000}


def foo_saved(ctx: Context, data: Any) -> Generator[Any, Any, dict[str, object]]:  # noqa: ANN401
    """Process whatever was sent, and have the result saved under the id of the call."""
    result: dict[str, object] = yield ctx.run(foo, data, ctx.options(retry_policy=Never()))
    saved = {"id": ctx.id, "result": result}
    yield ctx.rpc("db.saveResult", saved, ctx.options(target=DB))
    return result


def register(resonate: Resonate) -> None:
    """Register the functions; one that raises is rejected at once, as in the original."""
    resonate.register("foo", foo, retry_policy=Never())
    resonate.register("fooSaved", foo_saved)
