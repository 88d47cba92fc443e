"""What runs while everything is killed: fan-out, sleeps, approvals, and what is to be canceled."""

from collections.abc import Generator
from typing import Any, Final

from holdfast import Context, Resonate
from holdfast_worker.outside import DEPENDENCY, Outside

WORKERS: Final = "poll://any@workers"
FAN: Final = "chaosFan"
NAP: Final = "chaosNap"
APPROVAL: Final = "chaosApproval"
DOOMED: Final = "chaosDoomed"
LEAF: Final = "chaosLeaf"

LOCAL: Final = 6
REMOTE: Final = 4
"""Children of a fan: steps of its own, and workflows of anybody's."""

LONG_S: Final = 3_600.0
"""Nobody waits so long: what sleeps so long is canceled."""


def fan(ctx: Context, number: int) -> Generator[Any, Any, int]:
    """Do several things at once, here and elsewhere; add up what comes back."""
    here = [ctx.run(square, number + n) for n in range(LOCAL)]
    there = [ctx.rpc(LEAF, number + n, ctx.options(target=WORKERS)) for n in range(REMOTE)]
    values = yield ctx.all(*here, *there)
    return sum(values)


def sum_of_fan(number: int) -> int:
    """What a fan comes to."""
    squares = sum((number + n) ** 2 for n in range(LOCAL))
    return squares + sum(2 * (number + n) + 1 for n in range(REMOTE))


def leaf(ctx: Context, number: int) -> Generator[Any, Any, int]:
    """Do two steps, one after the other."""
    doubled = yield ctx.run(double, number)
    increased: int = yield ctx.run(increment, doubled)
    return increased


def nap(ctx: Context, milliseconds: int) -> Generator[Any, Any, int]:
    """Sleep between two steps."""
    doubled = yield ctx.run(double, milliseconds)
    yield ctx.sleep(milliseconds / 1000)
    increased: int = yield ctx.run(increment, doubled)
    return increased


def approval(ctx: Context, promise_id: str) -> Generator[Any, Any, str]:
    """Wait for somebody outside."""
    yield ctx.run(square, 1)
    asked = yield ctx.promise(id=promise_id)
    answer: str = yield asked
    yield ctx.run(square, 2)
    return answer


def doomed(ctx: Context, number: int) -> Generator[Any, Any, int]:
    """Begin things that nobody will wait for: steps, a sleep, and another who sleeps."""
    yield ctx.run(square, number)
    other = ctx.rpc(NAP, int(LONG_S * 1000), ctx.options(target=WORKERS))
    yield ctx.all(ctx.sleep(LONG_S), other)
    return number


def square(ctx: Context, number: int) -> int:
    """Multiply a number by itself."""
    _enter(ctx, "square")
    return number**2


def double(ctx: Context, number: int) -> int:
    """Multiply a number by two."""
    _enter(ctx, "double")
    return 2 * number


def increment(ctx: Context, number: int) -> int:
    """Add one to a number."""
    _enter(ctx, "increment")
    return number + 1


def _enter(ctx: Context, step: str) -> None:
    outside: Outside = ctx.get_dependency(DEPENDENCY)
    outside.enter(ctx, step)


def register(resonate: Resonate) -> None:
    """Register everything here."""
    resonate.register(FAN, fan)
    resonate.register(LEAF, leaf)
    resonate.register(NAP, nap)
    resonate.register(APPROVAL, approval)
    resonate.register(DOOMED, doomed)
    resonate.register("square", square)
    resonate.register("double", double)
    resonate.register("increment", increment)
