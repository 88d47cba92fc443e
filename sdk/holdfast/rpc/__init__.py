"""The remote store: everything of the library that speaks gRPC.

Imported only when a program names a remote store, so that embedded use never loads gRPC.
"""

from holdfast.rpc import polling  # noqa: F401 - for what it sets, which must come before gRPC

# isort: split
from holdfast.rpc.access import Access
from holdfast.rpc.admin import Admin
from holdfast.rpc.calls import Calls
from holdfast.rpc.store import OfferReceiver, RemoteStore

__all__ = ["Access", "Admin", "Calls", "OfferReceiver", "RemoteStore"]
