"""The smallest split: one function, called by its name from a process that knows nothing of it."""

import json
import time
from typing import Any, Final

from holdfast import Context, Never, Resonate
from holdfast_worker.outside import DEPENDENCY, Outside

SEPARATORS: Final = (",", ":")  # JSON as the original's language writes it


def foo(ctx: Context, data: Any) -> dict[str, object]:  # noqa: ANN401 - any JSON
    """Process whatever was sent."""
    outside: Outside = ctx.get_dependency(DEPENDENCY)
    outside.enter(ctx, "foo")
    text = json.dumps(data, separators=SEPARATORS, ensure_ascii=False)
    outside.tell(f"processing on worker: {text}")
    return {"result": f"Processed: {text}", "timestamp": time.time_ns() // 1_000_000}


def register(resonate: Resonate) -> None:
    """Register the function; one that raises is rejected at once, as in the original."""
    resonate.register("foo", foo, retry_policy=Never())
