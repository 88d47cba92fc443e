"""What a client is told by its environment."""

from collections.abc import Mapping
from dataclasses import dataclass

PORT_DEFAULT = 50_051


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The `RESONATE_*` variables; empty ones count as unset."""

    url: str | None = None
    token: str | None = None
    token_file: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    prefix: str | None = None
    group: str | None = None
    pid: str | None = None
    embedded: str | None = None
    timeout_s: float | None = None
    ttl_s: float | None = None


def read_environment(env: Mapping[str, str]) -> Environment:
    """Read the variables; raise `ValueError` naming the one that is malformed.

    `RESONATE_TIMEOUT` is in milliseconds and `RESONATE_TTL` in seconds, as elsewhere.
    """

    def text(name: str) -> str | None:
        return env.get(name) or None

    url = text("RESONATE_URL")
    host = text("RESONATE_HOST")
    if url is None and host is not None:
        scheme = text("RESONATE_SCHEME") or "grpc"
        url = f"{scheme}://{host}:{text('RESONATE_PORT') or PORT_DEFAULT}"
    timeout_ms = _number("RESONATE_TIMEOUT", text("RESONATE_TIMEOUT"))
    return Environment(
        url=url,
        token=text("RESONATE_TOKEN"),
        token_file=text("RESONATE_TOKEN_FILE"),
        tls_ca=text("RESONATE_TLS_CA"),
        tls_cert=text("RESONATE_TLS_CERT"),
        tls_key=text("RESONATE_TLS_KEY"),
        prefix=text("RESONATE_PREFIX"),
        group=text("RESONATE_GROUP"),
        pid=text("RESONATE_PID"),
        embedded=text("RESONATE_EMBEDDED"),
        timeout_s=None if timeout_ms is None else timeout_ms / 1000,
        ttl_s=_number("RESONATE_TTL", text("RESONATE_TTL")),
    )


def _number(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError as error:
        raise ValueError(f"{name} must be a number, it is {text!r}") from error
    if not 0 < number < float("inf"):
        raise ValueError(f"{name} must be above zero, it is {text!r}")
    return number
