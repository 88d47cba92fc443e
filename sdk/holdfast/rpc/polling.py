"""How gRPC waits for the network in this process; imported before gRPC, which looks only once.

Its newer way hands a message from a thread that polls to one that reads, to one that tells the
event loop. A process with one stream to a store gains nothing by that; the older way, in which one
thread does it all, halves the switches between threads, and whoever mostly waits needs an eighth
less of processor time. A version of gRPC that knows no such choice ignores it.
"""

import os

# Whoever has set the variable has decided, and where gRPC was imported earlier it has no effect.
# What this process starts inherits it, a store too, which sets the same.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")
