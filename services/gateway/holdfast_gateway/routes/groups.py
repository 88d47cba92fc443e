"""Worker groups over REST: how much work waits for each, and who there is to do it."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from holdfast_gateway.errors import Problem
from holdfast_gateway.examples import CREATED_AT_MS
from holdfast_gateway.gateway import Gateway, Groups
from holdfast_gateway.openapi import operation, problems
from holdfast_gateway.paths import id_from_path

if TYPE_CHECKING:  # as in the gateway's own module
    from holdfast.rpc.admin import ConnectedMember, Queue

_NOWHERE: Final = "This program has its store inside; only a gateway of a store process can tell."


class GroupBody(msgspec.Struct, rename="camel"):
    """The work of a group: `due` may run now, `halted` waits for a person.

    `countedAgeMs` is 0, or says how long ago it was counted while the database does not do so anew.
    """

    name: str
    due: int
    running: int
    suspended: int
    halted: int
    oldest_due_age_ms: int
    members: int
    free_credits: int
    counted_age_ms: int = 0


class MemberBody(msgspec.Struct, rename="camel"):
    """A process that is connected to a store; `store` is the name of that store process."""

    pid: str
    groups: list[str]
    free_credits: int
    held: int
    connected_at_ms: int
    store: str


class GroupListBody(msgspec.Struct, rename="camel"):
    """Groups that have work or members."""

    groups: list[GroupBody]


class MemberListBody(msgspec.Struct, rename="camel"):
    """Members of a group, at all stores that the gateway knows and that answer."""

    members: list[MemberBody]


_GROUP: Final = GroupBody("workers", 3, 1, 5, 0, oldest_due_age_ms=250, members=2, free_credits=7)
_MEMBER: Final = MemberBody(
    "worker-0",
    ["workers"],
    7,
    1,
    connected_at_ms=CREATED_AT_MS,
    store="holdfast-store-0/5f0c2a9e",
)


@get(
    "/",
    summary="List groups and their work",
    operation_class=operation(answers={200: GroupListBody([_GROUP])}),
    responses=problems(401, 403, 500, 501, 503),
)
async def list_groups(gateway: NamedDependency[Gateway]) -> GroupListBody:
    """Tell how much work waits for each, at most a second ago."""
    async with gateway.in_time():
        queues = await _asked(gateway).get_queues()
    return GroupListBody(groups=[_group(each) for each in queues])


@get(
    "/{group:str}",
    summary="Tell of one group",
    operation_class=operation(answers={200: _GROUP}),
    responses=problems(400, 401, 403, 500, 501, 503),
)
async def get_group(group: FromPath[str], gateway: NamedDependency[Gateway]) -> GroupBody:
    """Tell how much work waits for it; one that nobody knows has none."""
    async with gateway.in_time():
        [queue] = await _asked(gateway).get_queues([id_from_path(group)])
    return _group(queue)


@get(
    "/{group:str}/members",
    summary="List the members of a group",
    operation_class=operation(answers={200: MemberListBody([_MEMBER])}),
    responses=problems(400, 401, 403, 500, 501, 503),
)
async def list_members(group: FromPath[str], gateway: NamedDependency[Gateway]) -> MemberListBody:
    """Tell who is connected."""
    wanted = id_from_path(group)
    async with gateway.in_time():
        members = await _asked(gateway).list_members()
    return MemberListBody(members=[_member(each) for each in members if wanted in each.groups])


def routes() -> Router:
    """Return the routes."""
    return Router(
        "/v1/groups", route_handlers=[list_groups, get_group, list_members], tags=["groups"]
    )


def _asked(gateway: Gateway) -> Groups:
    if gateway.groups is None:
        raise Problem(status=HTTPStatus.NOT_IMPLEMENTED, code="not_supported", detail=_NOWHERE)
    return gateway.groups


def _group(queue: "Queue") -> GroupBody:
    return GroupBody(
        name=queue.group,
        due=queue.due,
        running=queue.running,
        suspended=queue.suspended,
        halted=queue.halted,
        oldest_due_age_ms=queue.oldest_due_age_ms,
        members=queue.members,
        free_credits=queue.free_credits,
        counted_age_ms=queue.counted_age_ms,
    )


def _member(member: "ConnectedMember") -> MemberBody:
    return MemberBody(
        pid=member.pid,
        groups=list(member.groups),
        free_credits=member.credits,
        held=member.held,
        connected_at_ms=member.connected_at_ms,
        store=member.store,
    )
