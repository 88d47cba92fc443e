"""Serves the handlers of one group: `python -m tests.bench.peers.restate.program GROUP PORT`.

Over HTTP/2 without TLS, so that a handler and the server talk over one connection as long as the
handler runs. Of the servers that the library's documents name, granian was the faster by far.
"""

import sys

from granian.constants import HTTPModes, Interfaces, Loops
from granian.server import Server


def main() -> None:
    """Serve until terminated; one process watches, and the one that it starts does the work."""
    _, group, port = sys.argv
    Server(
        f"tests.bench.peers.restate.handlers:app_{group}",
        address="127.0.0.1",
        port=int(port),
        interface=Interfaces.ASGINL,
        loop=Loops.uvloop,
        http=HTTPModes.http2,
        websockets=False,
        log_access=False,
    ).serve()


if __name__ == "__main__":
    main()
