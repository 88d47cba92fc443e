"""Who sends a request, where tokens are asked for, and what that allows.

The token is checked before a route's handler runs; what it covers is checked where requests turn
into operations, so that every id counts which a route names, whatever the route. Routes that ask
for no token act in the name of the gateway.
"""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from holdfast.core.membership import Member
from holdfast.core.naming import done_within, names_of
from holdfast.core.records import Promise, Schedule, Task
from holdfast.core.requests import Done, Refusal, Request
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    Search,
    TaskPage,
    TaskSearch,
    search_within,
)
from holdfast.port import Answer, Receiver, Store
from holdfast_chassis.authorization import EVERYTHING, Denial, Denied, Grant, judge
from holdfast_chassis.keys import KeysUnavailable
from holdfast_chassis.tokens import Verifier, token_in
from holdfast_gateway.errors import RETRY_SECONDS, Problem
from holdfast_gateway.gateway import Groups

if TYPE_CHECKING:  # a program with its store inside never loads gRPC
    from holdfast.rpc.admin import ConnectedMember, Queue

_S = TypeVar("_S", bound=Search)
_R = TypeVar("_R", Promise, Task, Schedule)

_CHALLENGE: Final = 'Bearer realm="holdfast"'
_CALLER: ContextVar[Grant | None] = ContextVar("caller", default=None)
_EXPIRES_AT: ContextVar[float | None] = ContextVar("expires_at", default=None)


class Callers:
    """The guard of routes that ask for a token."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def admit(
        self, connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler
    ) -> None:
        """Let a request through that has a valid token, whatever it covers; raises Problem."""
        token = token_in(connection.headers.get("authorization"))
        try:
            grant = await self._verifier.authorize(token, ())
        except Denied as error:
            raise problem_of_denial(error.denial) from error
        except KeysUnavailable as error:
            raise Problem(
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                code="keys_unavailable",
                detail="The keys that verify tokens cannot be had; send the same request later.",
                headers={"Retry-After": RETRY_SECONDS},
            ) from error
        _CALLER.set(grant)
        remaining_s = self._verifier.remaining_s(grant)
        _EXPIRES_AT.set(asyncio.get_running_loop().time() + remaining_s)


def caller_covers(name: str) -> bool:
    """Whether whoever sent the present request may be told of what has this id."""
    grant = _CALLER.get()
    return grant is None or grant.covers(name)


async def caller_expires() -> None:
    """Return when the token of the present request expires; without one, never."""
    expires_at = _EXPIRES_AT.get()
    if expires_at is None:
        await asyncio.get_running_loop().create_future()
    else:
        await asyncio.sleep(expires_at - asyncio.get_running_loop().time())


def problem_of_denial(denial: Denial) -> Problem:
    """Answer 401 or 403, with what RFC 6750 wants to be said about it."""
    if denial.status is HTTPStatus.FORBIDDEN:
        challenge = f'{_CHALLENGE}, error="insufficient_scope"'
    elif denial.code == "token_missing":
        challenge = _CHALLENGE
    else:
        challenge = f'{_CHALLENGE}, error="invalid_token"'
    return Problem(
        status=denial.status,
        code=denial.code,
        detail=denial.message,
        headers={"WWW-Authenticate": challenge},
    )


class BoundedStore:
    """A store that carries out for a request what its token covers, and nothing else.

    What no request asks for, such as the gateway's own listening, is not bounded.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def start(self, member: Member, receiver: Receiver) -> None:
        """Join as a member."""
        await self._store.start(member, receiver)

    def submit(
        self, chain: Sequence[Request], *, credits: int = 0, timeout: float | None = None
    ) -> "asyncio.Future[Answer]":
        """Send operations if the token of the request covers every id that they name."""
        grant = _CALLER.get()
        if grant is None or grant.covers_everything:
            return self._store.submit(chain, credits=credits, timeout=timeout)
        denial = judge(grant, (name for request in chain for name in names_of(request)))
        if denial is not None:
            denied: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            denied.set_exception(problem_of_denial(denial))
            return denied
        answer = self._store.submit(chain, credits=credits, timeout=timeout)
        return asyncio.ensure_future(_within(answer, grant.bound))

    async def search_promises(self, search: PromiseSearch) -> PromisePage | Refusal:
        """List those promises that the token covers."""
        page = await self._store.search_promises(_bounded(search))
        if isinstance(page, Refusal):
            return page
        return replace(page, promises=_covered(page.promises))

    async def search_tasks(self, search: TaskSearch) -> TaskPage | Refusal:
        """List those tasks that the token covers."""
        page = await self._store.search_tasks(_bounded(search))
        if isinstance(page, Refusal):
            return page
        return replace(page, tasks=_covered(page.tasks))

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage | Refusal:
        """List those schedules that the token covers."""
        page = await self._store.search_schedules(_bounded(search))
        if isinstance(page, Refusal):
            return page
        return replace(page, schedules=_covered(page.schedules))

    def give_back(self, credits: int) -> None:
        """Return credits."""
        self._store.give_back(credits)

    def drain(self) -> None:
        """Take no more tasks."""
        self._store.drain()

    async def close(self) -> None:
        """Leave."""
        await self._store.close()


def _bounded(search: _S) -> _S:
    grant = _CALLER.get()
    if grant is None:
        return search
    narrowed = search_within(search, grant.bound)
    if narrowed is None:
        denial = judge(grant, (search.id_prefix,))
        assert denial is not None, "it covers no id with that prefix"
        raise problem_of_denial(denial)
    return narrowed


def _covered(records: Sequence[_R]) -> Sequence[_R]:
    # A store of the release before knows nothing of prefixes in listings.
    grant = _CALLER.get()
    return records if grant is None else [each for each in records if grant.covers(each.id)]


async def _within(answer: "asyncio.Future[Answer]", prefix: str) -> Answer:
    found = await answer
    outcomes = [done_within(o, prefix) if isinstance(o, Done) else o for o in found.outcomes]
    return Answer(outcomes=outcomes, resent=found.resent)


class BoundedGroups:
    """Tells of worker groups to those only whose token is for everything."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    async def get_queues(self, groups: Sequence[str] = ()) -> "list[Queue]":
        """Read the queues."""
        _demand_everything()
        return await self._groups.get_queues(groups)

    async def list_members(self) -> "list[ConnectedMember]":
        """Read who is connected."""
        _demand_everything()
        return await self._groups.list_members()


def _demand_everything() -> None:
    grant = _CALLER.get()
    denial = None if grant is None else judge(grant, EVERYTHING)
    if denial is not None:
        raise problem_of_denial(denial)
