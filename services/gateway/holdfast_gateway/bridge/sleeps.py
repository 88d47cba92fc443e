"""Durable sleeps as newer clients write them (§2.7, §9.2 D7). Pure.

The rules forbid a timer that has a target: nobody is to execute it. The TypeScript client from
0.11.5 on gives its sleeps a target all the same, because the official server lets no other deadline
fire, and throws away the task that it gets for it. Ours fires every timer, so that the target is
left out here, and nobody is bothered with a task.

Only what a client's own context made carries a scope. Whoever writes such a promise by hand is told
that it cannot be, as the rules have it.
"""

from msgspec.structs import replace

from holdfast.core.records import SCOPE, TARGET, TIMER
from holdfast.core.requests import PromiseCreate, Request, TaskFence


def as_sleep(request: Request) -> Request:
    """Answer a request without the target of the sleep that it creates, if it does."""
    match request:
        case PromiseCreate() if _is_sleep(request):
            return _without_target(request)
        case TaskFence(action=PromiseCreate() as create) if _is_sleep(create):
            return replace(request, action=_without_target(create))
        case _:
            return request


def _is_sleep(create: PromiseCreate) -> bool:
    tags = create.tags
    return tags.get(TIMER) == "true" and TARGET in tags and SCOPE in tags


def _without_target(create: PromiseCreate) -> PromiseCreate:
    tags = {name: text for name, text in create.tags.items() if name != TARGET}
    return replace(create, tags=tags)
