"""Addresses to listen on: `host:port`, with IPv6 hosts in brackets."""

from dataclasses import dataclass
from typing import Self

PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; port 0 asks the system for a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `host:port` or `[host]:port`; raise ValueError with what it must be."""
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            host = ""  # an IPv6 host without brackets: where it ends is anybody's guess
        valid_port = port.isascii() and port.isdigit() and int(port[:6]) <= PORT_MAX
        if not (host and colon and valid_port):
            msg = (
                "must be host:port with a port from 0 to 65535,"
                " such as 127.0.0.1:8000 or [::1]:8000"
            )
            raise ValueError(msg)
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
