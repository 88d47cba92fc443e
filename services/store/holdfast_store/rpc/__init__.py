"""The gRPC side of the store: messages to requests, outcomes to messages, streams, status codes."""
