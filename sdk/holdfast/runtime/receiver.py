"""Where the store delivers: work to the worker, settlements to those who wait."""

from holdfast.core.membership import TaskPush
from holdfast.core.records import Promise
from holdfast.runtime.subscriptions import Subscriptions
from holdfast.runtime.worker import Worker


class Deliveries:
    """The library's end of a store connection; every call returns at once."""

    __slots__ = ("_subscriptions", "_worker")

    def __init__(self, worker: Worker, subscriptions: Subscriptions) -> None:
        self._worker = worker
        self._subscriptions = subscriptions

    def on_task(self, push: TaskPush) -> None:
        """Run a task."""
        self._worker.take(push)

    def held(self) -> frozenset[tuple[str, int]]:
        """List the leases that this process knows of, as id and version."""
        return self._worker.held_leases()

    def on_settled(self, promise: Promise) -> None:
        """Wake whoever waits for a promise."""
        self._subscriptions.on_settled(promise)

    def on_connected(self) -> None:
        """Trust leases again, and listen again."""
        self._worker.leases.connected()
        self._subscriptions.on_connected()

    def on_disconnected(self) -> None:
        """Trust no lease until the store is back."""
        self._worker.leases.disconnected()
