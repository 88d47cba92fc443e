"""A second promise store, written only from the protocol, in the plainest way that works.

It is read to learn the rules and run to check the product: `tests/differential` plays the same
operations to both. So it shares nothing with the product, keeps everything in dicts, is slow, and
does one thing at a time. The class grows from module to module in reading order:

`records` what is kept; `profile` what may be switched; `reading` what a request must look like;
`state` projection, obligations and the outbox; `promises`, `tasks`, `fences`, `cron`, `schedules`
the operations; `steps` what happens by itself; `chains` several operations in one request; `model`
the whole, with its snapshot.
"""
