"""Where stores are: URLs to channels."""

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import grpc

from holdfast.rpc.access import ANONYMOUS, Access

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest message that the store sends and accepts."""

PORT_DEFAULT: Final = 50_051

# A peer that vanished without closing its connection is noticed within 20 s: 10 s of silence, and
# 10 s without an answer to a ping. Reconnecting is paced by the library: gRPC's own pacing, shared
# between channels, would add up to minutes to it.
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # without it a ping has a minute, whatever stands above
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What a URL names: one store process, a name of several, or a load balancer before them."""

    host: str
    port: int
    tls: bool
    server: str = ""
    """The name that a certificate must be for, where that is not the host."""

    def __str__(self) -> str:
        server = f"?server={self.server}" if self.server else ""
        return f"grpc{'s' if self.tls else ''}://{_bracketed(self.host)}:{self.port}{server}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One of the addresses behind an endpoint."""

    endpoint: Endpoint
    ip: str | None
    """`None` where the name is looked up by a proxy."""

    def __str__(self) -> str:
        named = self.ip is None or self.ip == self.endpoint.host
        return f"{self.endpoint}" if named else f"{self.endpoint} ({self.ip})"

    def channel(self, access: Access = ANONYMOUS) -> grpc.aio.Channel:
        """Open a channel of its own; it connects when it is used.

        Raises `ServerUnavailable` for files of TLS that cannot be read.
        """
        endpoint = self.endpoint
        named = f"{_bracketed(endpoint.server or endpoint.host)}:{endpoint.port}"
        options: list[tuple[str, str | int]] = [*_OPTIONS]
        if self.ip is None:
            target = f"dns:///{_bracketed(endpoint.host)}:{endpoint.port}"
        else:
            family = "ipv6" if ":" in self.ip else "ipv4"
            target = f"{family}:{_bracketed(self.ip)}:{endpoint.port}"
            # Certificates are for the name, and so are the rules of a load balancer.
            options += [("grpc.default_authority", named), ("grpc.enable_http_proxy", 0)]
        if not endpoint.tls:
            return grpc.aio.insecure_channel(target, options=options)
        return grpc.aio.secure_channel(target, access.credentials(), options=options)


def is_address(host: str) -> bool:
    """Tell an address from a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_proxied(host: str) -> bool:
    """Whether gRPC reaches a host through a proxy, by the environment variables that it reads."""
    if not any(os.environ.get(name) for name in ("grpc_proxy", "https_proxy", "http_proxy")):
        return False
    own = os.environ.get("no_grpc_proxy")  # noqa: SIM112 - gRPC's own spelling
    exceptions = (own or os.environ.get("no_proxy") or "").split(",")
    return not any(host.endswith(e.strip()) for e in exceptions if e.strip())


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def parse_endpoints(url: str) -> tuple[Endpoint, ...]:
    """Read `grpc://a:50051,b:50051` or `grpcs://…`; raise `ValueError` with what it must be.

    The scheme of the first address holds for those that follow without one. `?server=NAME` behind
    an address says for which name its certificate must be.
    """
    endpoints: list[Endpoint] = []
    scheme = ""
    for part in url.split(","):
        address = part.strip()
        if "://" in address:
            scheme, _, address = address.partition("://")
        endpoints.append(_endpoint(scheme, address, url=url))
    return tuple(endpoints)


def _endpoint(scheme: str, address: str, *, url: str) -> Endpoint:
    if scheme in {"http", "https"}:
        secure = "s" if scheme == "https" else ""
        raise ValueError(
            f"{url!r} is an HTTP address, and this library speaks gRPC to the store: write"
            f" grpc{secure}://host:{PORT_DEFAULT}. The HTTP address of a gateway's bridge is for"
            " clients of the Resonate protocol in other languages."
        )
    if scheme not in {"grpc", "grpcs"}:
        raise ValueError(
            f"a store's URL must be grpc://host:port or grpcs://host:port, it is {url!r}"
        )
    parts = urlsplit(f"//{address}")
    try:
        port = parts.port
    except ValueError:
        port = -1
    key, _, server = parts.query.partition("=")
    is_named = key == "server" and re.fullmatch(r"[\w.:-]+", server) is not None
    is_plain = not (parts.path.strip("/") or parts.username or (parts.query and not is_named))
    if not parts.hostname or port == -1 or not is_plain:
        raise ValueError(f"a store's URL must hold a host and perhaps a port, it is {url!r}")
    return Endpoint(
        host=parts.hostname,
        port=PORT_DEFAULT if port is None else port,
        tls=scheme == "grpcs",
        server=server,
    )
