"""The settings by which a process lets others in: whose tokens it believes, and its certificate.

Mixins for settings classes. Everything is off until it is named, and files may be replaced while
the process runs.
"""

from dataclasses import dataclass
from typing import Final

from holdfast_chassis.key_sources import NONE, open_keys
from holdfast_chassis.keys import BadKeys
from holdfast_chassis.settings import number, setting
from holdfast_chassis.tokens import Expectations, Verifier

LEEWAY_S_MAX: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class AuthSettings:
    """Whether requests need a bearer token, and which ones count."""

    auth_keys: str | None = setting(
        None,
        doc="What verifies bearer tokens: a file with public keys in PEM or with a JSON Web Key"
        " Set, or the URL of such a set; files may be replaced while the process runs. unset: no"
        " token is asked for. none: tokens are asked for and their signatures not verified, for"
        " tests only.",
    )
    auth_issuer: str | None = setting(None, doc="What tokens must say as `iss`; unset: anything.")
    auth_audience: str | None = setting(
        None, doc="What tokens must say as `aud`, or among its entries; unset: anything."
    )
    auth_leeway_seconds: float = setting(
        10.0,
        doc="By how much the clocks of this machine and of whoever issues tokens may differ.",
        parse=number(0, LEEWAY_S_MAX),
    )

    @property
    def verifies_signatures(self) -> bool:
        """Whether tokens must be signed."""
        return self.auth_keys != NONE


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """Whether connections are encrypted."""

    tls_cert: str | None = setting(
        None,
        doc="File with the certificate chain in PEM, for TLS; unset: plain text. It may be replaced"
        " while the process runs.",
    )
    tls_key: str | None = setting(None, doc="File with the private key of that certificate.")
    tls_client_ca: str | None = setting(
        None,
        doc="File with certificate authorities in PEM: every client must show a certificate of one"
        " of them, probes included; unset: none need to.",
    )

    def check_tls(self) -> None:
        """Raise ValueError where one file is named without the others that it needs."""
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "tls_cert and tls_key must be set together, or neither of them"
            raise ValueError(msg)
        if self.tls_client_ca is not None and self.tls_cert is None:
            msg = "tls_client_ca needs tls_cert and tls_key: clients are told apart by TLS only"
            raise ValueError(msg)


def open_verifier(settings: AuthSettings) -> Verifier | None:
    """Make what verifies tokens, `None` where none are asked for; raises `BadKeys`."""
    if settings.auth_keys is None:
        return None
    expectations = Expectations(
        issuer=settings.auth_issuer,
        audience=settings.auth_audience,
        leeway_s=settings.auth_leeway_seconds,
    )
    try:
        return Verifier(open_keys(settings.auth_keys), expectations)
    except OSError as error:
        raise BadKeys(f"it cannot be read: {error.strerror or error}") from error
