"""The library's receiver tells a reconnecting stream which leases it holds."""

from holdfast.rpc.store import HoldingReceiver
from holdfast.runtime.receiver import Deliveries


def test_the_librarys_receiver_names_its_leases() -> None:
    assert isinstance(Deliveries.__new__(Deliveries), HoldingReceiver)
