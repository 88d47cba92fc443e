"""Promises as a client handles them by hand: webhooks, approvals, rendezvous."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from holdfast.core.limits import SEARCH_LIMIT_DEFAULT
from holdfast.core.records import EMPTY, TARGET, Promise, PromiseState, Value
from holdfast.core.requests import PromiseCreate, PromiseGet, PromiseSettle, Request
from holdfast.core.search import PromiseSearch
from holdfast.errors import DecodeError
from holdfast.inside import warn_of_client_call
from holdfast.lineage import external_tags, prefixed
from holdfast.options import TIMEOUT_MS_DEFAULT, span_ms
from holdfast.states import parse_state
from holdfast.tracing import traced

if TYPE_CHECKING:
    from holdfast.client import Resonate


@dataclass(frozen=True, slots=True, kw_only=True)
class DurablePromise:
    """A promise as it was when it was read.

    `param` and `value` are decoded; the value of a rejected promise is the exception. Instants
    are milliseconds since the epoch.
    """

    id: str
    state: str
    param: Any
    value: Any
    tags: Mapping[str, str]
    timeout_at_ms: int
    created_at_ms: int
    settled_at_ms: int | None
    created: bool = False
    """Whether the call that answered this made the promise."""

    @property
    def is_pending(self) -> bool:
        """Whether nobody has settled it."""
        return self.state == PromiseState.PENDING.value


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPromises:
    """A page of promises, in the order of their ids."""

    promises: tuple[DurablePromise, ...]
    cursor: str | None
    """Where the next page begins; `None` on the last one."""


class Promises:
    """`resonate.promises`. Ids get the client's prefix.

    With `raw=True` payloads are the stored text (base64 of JSON) instead of Python values.
    """

    def __init__(self, client: "Resonate") -> None:
        self._client = client

    async def get(self, id: str, *, raw: bool = False) -> DurablePromise:
        """Read a promise; raises `PromiseNotFound`."""
        return await self._ask(PromiseGet(id=self._id(id)), raw=raw)

    async def create(
        self,
        id: str,
        *,
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - the promise's, not the call's
        timeout_at: datetime | int | None = None,
        data: object = None,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        raw: bool = False,
    ) -> DurablePromise:
        """Make a promise that anybody may settle and await; an existing one is answered as it is.

        `timeout` is a span in seconds, `timeout_at` an instant (a datetime, or milliseconds since
        the epoch); default a day.
        """
        param = self._value(data, headers, raw=raw)
        create = PromiseCreate(
            id=self._id(id),
            timeout_at_ms=self._timeout_at_ms(timeout, timeout_at),
            param=traced(param) if tags and TARGET in tags else param,
            tags=external_tags(tags),
        )
        return await self._ask(create, raw=raw)

    async def search(
        self,
        *,
        state: str | None = None,
        tags: Mapping[str, str] | None = None,
        limit: int = SEARCH_LIMIT_DEFAULT,
        cursor: str | None = None,
        raw: bool = False,
    ) -> FoundPromises:
        """List promises of the whole store, in the order of their ids; all filters must match.

        A page has up to `limit` of them, fewer when they are large. Give its `cursor` to get the
        next one: what exists all the time comes once, whatever is written meanwhile. The state
        is that of now: a passed deadline counts.
        """
        warn_of_client_call("resonate.promises", instead="use ctx.promise(), or call it in a step")
        search = PromiseSearch(
            state=parse_state(PromiseState, state),
            tags=dict(tags or {}),
            limit=limit,
            cursor=cursor or "",
        )
        page = await (await self._client.joined()).search_promises(search)
        return FoundPromises(
            promises=tuple(self._view(each, created=False, raw=raw) for each in page.promises),
            cursor=page.cursor,
        )

    async def resolve(
        self,
        id: str,
        value: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bool = False,
    ) -> DurablePromise:
        """Give a promise its value; one that is settled already is answered as it is."""
        return await self._settle(
            id, PromiseState.RESOLVED, self._value(value, headers, raw=raw), raw=raw
        )

    async def reject(
        self,
        id: str,
        error: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bool = False,
    ) -> DurablePromise:
        """Reject a promise with an exception, or with any value."""
        if isinstance(error, BaseException):
            value = Value(data=self._client.codec.encode_error(error), headers=headers)
        else:
            value = self._value(error, headers, raw=raw)
        return await self._settle(id, PromiseState.REJECTED, value, raw=raw)

    async def cancel(
        self,
        id: str,
        value: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bool = False,
    ) -> DurablePromise:
        """Cancel a promise."""
        return await self._settle(
            id, PromiseState.REJECTED_CANCELED, self._value(value, headers, raw=raw), raw=raw
        )

    async def _settle(
        self, promise_id: str, state: PromiseState, value: Value, *, raw: bool
    ) -> DurablePromise:
        return await self._ask(
            PromiseSettle(id=self._id(promise_id), state=state, value=value), raw=raw
        )

    async def _ask(self, request: Request, *, raw: bool) -> DurablePromise:
        warn_of_client_call("resonate.promises", instead="use ctx.promise(), or call it in a step")
        done = await (await self._client.joined()).ask_done(request)
        assert done.promise is not None
        return self._view(done.promise, created=done.created, raw=raw)

    def _id(self, promise_id: str) -> str:
        return prefixed(self._client.prefix, promise_id)

    def _timeout_at_ms(
        self, timeout: float | timedelta | None, timeout_at: datetime | int | None
    ) -> int:
        if timeout is not None and timeout_at is not None:
            raise TypeError("give timeout or timeout_at, not both")
        if isinstance(timeout_at, datetime):
            if timeout_at.tzinfo is None:
                raise ValueError("timeout_at must have a time zone")
            return int(timeout_at.timestamp() * 1000)
        if timeout_at is not None:
            return timeout_at
        span = TIMEOUT_MS_DEFAULT if timeout is None else span_ms(timeout, field="timeout")
        return self._client.clock.now_ms() + span

    def _value(self, value: object, headers: Mapping[str, str] | None, *, raw: bool) -> Value:
        if not raw:
            data = self._client.codec.encode(value)
        elif value is None or isinstance(value, str):
            data = None if value is None else value.encode()
        else:
            raise TypeError("a raw payload must be text: base64 of JSON")
        if data is None and headers is None:
            return EMPTY
        return Value(data=data, headers=headers)

    def _view(self, record: Promise, *, created: bool, raw: bool) -> DurablePromise:
        return DurablePromise(
            id=record.id,
            state=record.state.value,
            param=self._read(record.param, raw=raw),
            value=self._outcome(record, raw=raw),
            tags=record.tags,
            timeout_at_ms=record.timeout_at_ms,
            created_at_ms=record.created_at_ms,
            settled_at_ms=record.settled_at_ms,
            created=created,
        )

    def _outcome(self, record: Promise, *, raw: bool) -> object:
        if record.state is PromiseState.REJECTED and not raw:
            return self._client.codec.decode_error(record.value.data)
        return self._read(record.value, raw=raw)

    def _read(self, value: Value, *, raw: bool) -> object:
        if raw:
            return None if value.data is None else value.data.decode(errors="replace")
        try:
            return self._client.codec.decode(value.data)
        except DecodeError as error:
            # Another client's payload must not keep the state from being read.
            return error
