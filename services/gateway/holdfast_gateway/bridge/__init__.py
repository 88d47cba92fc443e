"""The Resonate protocol over HTTP, translated to the store's gRPC, on a port of its own.

Nothing here knows a rule of promises: the envelope and the shapes of JSON are judged, everything
else is the store's answer. Messages for clients that poll, and for HTTP addresses, come over
streams of members that are offered tasks.
"""
