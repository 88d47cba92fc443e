"""A release that gives the worker a function without a name."""

from holdfast import Resonate


def register(resonate: Resonate) -> None:
    resonate.register(lambda ctx: ctx)
