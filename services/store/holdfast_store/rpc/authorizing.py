"""Who may do what: operations as their sender may ask for them, and what it is shown of them."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from msgspec.structs import replace

from holdfast.core.ids import HTTP_GROUP
from holdfast.core.membership import Member, TaskPush
from holdfast.core.naming import done_within, names_of, preload_within
from holdfast.core.requests import Done, Outcome, Refusal, Request, TaskHeartbeat
from holdfast.core.search import Search, search_within
from holdfast_chassis.authorization import Denial, Grant, judge, shortened

_FORBIDDEN: Final = 403
_S = TypeVar("_S", bound=Search)


def bounded(request: Request, grant: Grant) -> Request | Refusal:
    """Answer the operation as its sender may ask for it, or why it may not."""
    denial = judge(grant, names_of(request))
    if denial is not None:
        return refusal_of(denial)
    if isinstance(request, TaskHeartbeat) and not request.prefix.startswith(grant.bound):
        return replace(request, prefix=grant.bound)
    return request


def bounded_search(search: _S, grant: Grant) -> _S | Refusal:
    """Answer the listing of what its sender may see of it, or that this is nothing."""
    narrowed = search_within(search, grant.bound)
    return narrowed or _not_covered("id_prefix", search.id_prefix, grant)


def bounded_chain(chain: Sequence[Request], grant: Grant) -> tuple[list[Request], Refusal | None]:
    """Cut a chain before the first operation that its sender may not ask for, and say why."""
    allowed: list[Request] = []
    for request in chain:
        judged = bounded(request, grant)
        if isinstance(judged, Refusal):
            return allowed, judged
        allowed.append(judged)
    return allowed, None


def shown(outcomes: Iterable[Outcome], prefix: str) -> list[Outcome]:
    """Leave out of answers what their receiver must not see."""
    return [done_within(each, prefix) if isinstance(each, Done) else each for each in outcomes]


def shown_push(push: TaskPush, prefix: str) -> TaskPush:
    """Leave out of a task's children those that its member must not see."""
    preload = preload_within(push.preload, prefix)
    if preload is push.preload:
        return push
    return TaskPush(task=push.task, promise=push.promise, preload=preload)


def bounded_member(member: Member, grant: Grant) -> Member | Refusal:
    """Answer a member as its token and what it asks for itself let it be, or why it may not."""
    if HTTP_GROUP in member.groups and grant.bound:
        # What waits for HTTP addresses is taken for whoever sends it on, whatever it is about.
        return _for_everybody(f"the group {HTTP_GROUP} sends on the messages of everybody")
    if member.name not in ("", member.pid) and grant.bound:
        # Whoever has that name for its pid may sit at another store, which knows nothing of this.
        return _for_everybody("hello.name, which is not hello.pid, takes messages for others")
    for narrow, wide in ((member.prefix, grant.bound), (grant.bound, member.prefix)):
        if narrow.startswith(wide):
            return dataclasses.replace(member, prefix=narrow, owner=grant.subject)
    return _not_covered("hello.id_prefix", member.prefix, grant)


def _for_everybody(why: str) -> Refusal:
    return Refusal(
        status=_FORBIDDEN,
        code="prefix_not_empty",
        message=f"{why}: it needs a token with an empty prefix, or the role `admin`",
    )


def _not_covered(field: str, prefix: str, grant: Grant) -> Refusal:
    return Refusal(
        status=_FORBIDDEN,
        code="prefix_mismatch",
        message=f"{field} is {shortened(prefix)}, which the token's prefix"
        f" {shortened(grant.bound)} does not cover",
    )


def refusal_of(denial: Denial) -> Refusal:
    """Make the refusal of what is denied."""
    return Refusal(status=int(denial.status), code=denial.code, message=denial.message)
