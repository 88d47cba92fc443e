"""Which web pages may use the bridge (§1.1). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ANY: Final = "*"

_METHODS: Final = b"GET, POST, OPTIONS, HEAD"
_HEADERS: Final = b"Origin, Content-Length, Content-Type, Authorization"
_MAX_AGE: Final = b"600"


@dataclass(frozen=True, slots=True)
class Cors:
    """The origins that may; none of them is no origin."""

    origins: tuple[str, ...] = ()

    def headers_for(self, origin: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
        """Return what each answer to a page of an origin says."""
        if ANY in self.origins:
            return ((b"access-control-allow-origin", b"*"),)
        if not self.origins:
            return ()
        vary = (b"vary", b"origin")
        if not self._is_allowed(origin):
            return (vary,)
        assert origin is not None, "allowed"
        return (vary, (b"access-control-allow-origin", origin))

    def is_preflight(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a browser asks in advance, and anybody has said that it may."""
        asks = b"origin" in headers and b"access-control-request-method" in headers
        return asks and bool(self.origins)

    def preflight_for(self, origin: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """Return what the answer to that says, beside what each answer says."""
        if not self._is_allowed(origin):
            return ()
        is_open = ANY in self.origins
        return (
            (b"access-control-allow-methods", b"*" if is_open else _METHODS),
            # A star does not stand for this header, whatever else it stands for.
            (b"access-control-allow-headers", b"*, Authorization" if is_open else _HEADERS),
            (b"access-control-max-age", _MAX_AGE),
        )

    def _is_allowed(self, origin: bytes | None) -> bool:
        if origin is None:
            return False
        return ANY in self.origins or origin.decode("latin-1") in self.origins
