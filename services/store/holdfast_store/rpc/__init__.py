"""The gRPC side of the store: messages to requests, outcomes to messages, streams, status codes."""

import os

# Before gRPC is imported, which looks only once: one thread polls and reads, and no other is woken
# for it. The library does the same.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")
