"""Who may do what: operations as their sender may ask for them, and what it is shown of them."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from holdfast.core.ids import HTTP_GROUP
from holdfast.core.membership import Member, TaskPush
from holdfast.core.naming import done_within, names_of, preload_within
from holdfast.core.requests import Done, Outcome, Refusal, Request, TaskHeartbeat
from holdfast_chassis.authorization import Denial, Grant, judge

_FORBIDDEN: Final = 403


def bounded(request: Request, grant: Grant) -> Request | Refusal:
    """Answer the operation as its sender may ask for it, or why it may not."""
    denial = judge(grant, names_of(request))
    if denial is not None:
        return refusal_of(denial)
    if isinstance(request, TaskHeartbeat) and not request.prefix.startswith(grant.bound):
        return replace(request, prefix=grant.bound)
    return request


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


def prefix_of(member: Member, grant: Grant) -> str | Refusal:
    """Answer what a member's ids begin with, by its token and by what it asks for itself."""
    if HTTP_GROUP in member.groups and grant.bound:
        # What waits for HTTP addresses is taken for whoever sends it on, whatever it is about.
        return Refusal(
            status=_FORBIDDEN,
            code="prefix_not_empty",
            message=f"the group {HTTP_GROUP} sends on the messages of everybody: it needs a token"
            " with an empty prefix, or the role `admin`",
        )
    for narrow, wide in ((member.prefix, grant.bound), (grant.bound, member.prefix)):
        if narrow.startswith(wide):
            return narrow
    return Refusal(
        status=_FORBIDDEN,
        code="prefix_mismatch",
        message=f"hello.id_prefix is {member.prefix!r}, which the token's prefix"
        f" {grant.bound!r} does not cover",
    )


def refusal_of(denial: Denial) -> Refusal:
    """Make the refusal of what is denied."""
    return Refusal(status=int(denial.status), code=denial.code, message=denial.message)
