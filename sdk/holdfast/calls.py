"""How a started client begins runs, joins those that exist, and waits for their outcomes."""

from typing import Any, TypeVar

from holdfast.clock import Clock
from holdfast.codec import Codec
from holdfast.core.membership import TaskPush
from holdfast.core.records import DELAY, Preload, Promise, PromiseState, TaskState, Value
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseGet,
    Refusal,
    Request,
    TaskAcquire,
    TaskCreate,
    TaskGet,
    TaskRelease,
)
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    Search,
    TaskPage,
    TaskSearch,
    flaw_of_search,
)
from holdfast.errors import DecodeError, IdempotencyConflict
from holdfast.handle import Handle
from holdfast.lineage import prefixed, root_tags, run_target, target_address
from holdfast.options import Options, span_ms, split_options
from holdfast.outcomes import error_of
from holdfast.port import Store
from holdfast.registry import Callee, Function, Registry
from holdfast.runtime.children import call_param
from holdfast.runtime.subscriptions import Subscription, Subscriptions
from holdfast.runtime.waits import ending_error
from holdfast.runtime.worker import Worker, WorkerSettings
from holdfast.tracing import traced

_PageT = TypeVar("_PageT", PromisePage, TaskPage, SchedulePage)


class Calls:
    """The client's side of the store, once it is joined."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        codec: Codec,
        clock: Clock,
        settings: WorkerSettings,
        worker: Worker,
        subscriptions: Subscriptions,
    ) -> None:
        self.codec = codec
        self._store = store
        self._registry = registry
        self._clock = clock
        self._settings = settings
        self._worker = worker
        self._subscriptions = subscriptions

    # Beginning

    async def begin_run(
        self,
        run_id: str,
        fn: Callee,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        base: Options,
        *,
        awaited: bool,
    ) -> Handle[Any]:
        """Create a promise together with its lease and run it here; or join what exists.

        `awaited` says that the result is wanted at once: a run that goes on elsewhere is then
        listened to in the transaction that finds it.
        """
        settings = self._settings
        args, options = split_options(args, base)
        function = self._registry.resolve_registered(fn, version=options.version)
        target = run_target(settings.group, settings.pid)
        create = self._create(run_id, function, args, kwargs, options, target=target)
        # No preload: a run that is new has no children, and one that is taken over asks for each.
        request = TaskCreate(
            pid=settings.pid, ttl_ms=settings.ttl_ms, action=create, skip_preload=True
        )
        sent_at = self._worker.leases.now()
        answer = await self._store.submit([request])
        outcome = answer.outcomes[0]
        subscription = self._subscriptions.of(create.id)
        if isinstance(outcome, Refusal) and outcome.status == 409:  # noqa: PLR2004 - it runs already
            outcome = await self._find(subscription, listen=awaited)
            if answer.resent:
                sent_at = self._worker.leases.now()
                outcome = await self._reclaim(create.id) or outcome
        done = _done(outcome)
        record, task = done.promise, done.task
        assert record is not None
        if not done.created:
            self._check_conflict(record, create, options)
        if record.state is not PromiseState.PENDING:
            subscription.settle(record)
        elif task is not None and task.state is TaskState.ACQUIRED:
            subscription.local = True
            self._worker.begin(
                TaskPush(task=task, promise=record, preload=Preload()),
                lease_until=sent_at + self._worker.leases.ttl_s,
                fresh=done.created,
            )
        return Handle(self, subscription, created=done.created, function=function)

    async def _find(self, subscription: Subscription, *, listen: bool) -> Outcome:
        """Read a promise that exists, and listen to it if that is wanted."""
        listener = self._subscriptions.listener(subscription.id)
        request = listener if listen else PromiseGet(id=subscription.id)
        outcome = (await self._store.submit([request])).outcomes[0]
        if listen:
            self._subscriptions.on_listening(subscription, outcome)
        return outcome

    async def _reclaim(self, task_id: str) -> Outcome | None:
        """Take a task that a lost answer had leased to this process; `None` if there is none.

        Its pid alone proves nothing: an earlier process may have had the same, or by mistake
        another one has it now. So the lease is not used as it is but replaced, in one transaction,
        by one at the next version: whoever holds the old one can write nothing any more.
        """
        settings = self._settings
        read = (await self._store.submit([TaskGet(id=task_id)])).outcomes[0]
        task = read.task if isinstance(read, Done) else None
        if task is None or task.state is not TaskState.ACQUIRED or task.pid != settings.pid:
            return None
        if self._worker.holds(task_id):
            return None
        release = TaskRelease(id=task_id, version=task.version)
        acquire = TaskAcquire(
            id=task_id,
            version=task.version,
            pid=settings.pid,
            ttl_ms=settings.ttl_ms,
            skip_preload=True,
        )
        outcome = (await self._store.submit([release, acquire])).outcomes[-1]
        return outcome if isinstance(outcome, Done) else None

    async def begin_rpc(
        self,
        run_id: str,
        fn: Callee,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        base: Options,
        *,
        awaited: bool,
    ) -> Handle[Any]:
        """Create a promise for a worker group.

        `awaited` says that the result is wanted at once: it is then listened to in the same
        transaction. Otherwise whoever asks for the result registers the listener, and learns in
        the answer to that if the promise was settled before.
        """
        args, options = split_options(args, base)
        function = self._registry.resolve_remote(fn, version=options.version)
        target = target_address(options.target or self._settings.default_target)
        create = self._create(run_id, function, args, kwargs, options, target=target)
        subscription = self._subscriptions.of(create.id)
        listens = awaited and not subscription.listening
        chain: list[Request] = [create]
        if listens:
            chain.append(self._subscriptions.listener(create.id))
        outcomes = (await self._store.submit(chain)).outcomes
        done = _done(outcomes[0])
        record = done.promise
        assert record is not None
        if not done.created:
            self._check_conflict(record, create, options)
        if record.state is not PromiseState.PENDING:
            subscription.settle(record)
        elif listens:
            self._subscriptions.on_listening(subscription, outcomes[1])
        return Handle(self, subscription, created=done.created, function=function)

    def _create(
        self,
        run_id: str,
        function: Function,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        options: Options,
        *,
        target: str,
    ) -> PromiseCreate:
        full_id = prefixed(self._settings.prefix, options.id or run_id)
        now_ms = self._clock.now_ms()
        tags = root_tags(full_id, target=target, extra=options.tags)
        if options.delay is not None:
            tags[DELAY] = str(now_ms + span_ms(options.delay, field="delay"))
        return PromiseCreate(
            id=full_id,
            timeout_at_ms=now_ms + options.timeout_ms,
            param=traced(call_param(self.codec, function, args, kwargs, options.retry_policy)),
            tags=tags,
        )

    def _check_conflict(self, record: Promise, create: PromiseCreate, options: Options) -> None:
        """Raise `IdempotencyConflict` if it is asked for and the id means another call."""
        if options.on_conflict != "raise" or record.param.data == create.param.data:
            return
        try:
            stored = self.codec.decode(record.param.data)
        except DecodeError:
            stored = None
        asked = self.codec.decode(create.param.data)
        assert isinstance(asked, dict)
        for field in ("func", "args", "kwargs"):
            there = stored.get(field) if isinstance(stored, dict) else None
            if (there or None) != (asked.get(field) or None):
                raise IdempotencyConflict(f"{record.id} exists and was made with another `{field}`")

    # Asking and waiting

    async def ask(self, request: Request) -> Promise:
        """Send one operation and answer its promise; raises what the store refused it with."""
        done = await self.ask_done(request)
        assert done.promise is not None
        return done.promise

    async def ask_done(self, request: Request) -> Done:
        """Send one operation; raises what the store refused it with."""
        return _done((await self._store.submit([request])).outcomes[0])

    async def search_promises(self, search: PromiseSearch) -> PromisePage:
        """List promises; raises what the store refused it with."""
        _check(search)
        return _page(await self._store.search_promises(search))

    async def search_tasks(self, search: TaskSearch) -> TaskPage:
        """List tasks; raises what the store refused it with."""
        _check(search)
        return _page(await self._store.search_tasks(search))

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage:
        """List schedules; raises what the store refused it with."""
        _check(search)
        return _page(await self._store.search_schedules(search))

    async def cancel(self, promise_id: str, value: Value) -> Promise:
        """Cancel a promise, and unless it was settled otherwise what is attached to it."""
        canceller = self._worker.canceller
        record = await canceller.settle(promise_id, value)
        if record.state is PromiseState.REJECTED_CANCELED:
            self._subscriptions.on_settled(record)
            await self._worker.cancel_beneath(record)
        return record

    def handle_of(self, record: Promise) -> Handle[Any]:
        """Make a handle of a promise that was read."""
        subscription = self._subscriptions.of(record.id)
        if record.state is not PromiseState.PENDING:
            subscription.settle(record)
        return Handle(self, subscription, created=False)

    async def settled_record(self, subscription: Subscription) -> Promise:
        """Wait until a promise is settled."""
        return await self._subscriptions.wait(subscription)

    def outcome_of(self, record: Promise) -> object:
        """Answer the value of a settled promise; raises what it was rejected with."""
        if record.state is PromiseState.RESOLVED:
            return self.codec.decode(record.value.data)
        if record.state is PromiseState.REJECTED:
            raise self.codec.decode_error(record.value.data)
        raise ending_error(record.id, record.state)


def _done(outcome: Outcome) -> Done:
    if isinstance(outcome, Done):
        return outcome
    assert isinstance(outcome, Refusal), "the first operation of a chain is never skipped"
    raise error_of(outcome)


def _check(search: Search) -> None:
    """Refuse here what every store refuses: some of it no message could say."""
    flaw = flaw_of_search(search)
    if flaw is not None:
        raise error_of(flaw)


def _page(answer: _PageT | Refusal) -> _PageT:
    if isinstance(answer, Refusal):
        raise error_of(answer)
    return answer
