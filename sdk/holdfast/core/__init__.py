"""The rules of durable promises as pure functions over frozen data.

Nothing here reads a clock, awaits, or performs I/O: a rule takes a working set, a request and
`now_ms`, answers an outcome and leaves its changes in the working set. Section numbers in
docstrings refer to the durable-promise protocol, version 2026-04-01.
"""
