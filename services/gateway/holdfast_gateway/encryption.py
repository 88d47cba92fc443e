"""TLS for REST and bridge, by files that may be replaced while the process runs."""

import ssl
from typing import Final

from holdfast_chassis.certificates import BadCertificate, CertificateFiles
from holdfast_chassis.logs import get_logger

log = get_logger(__name__)

WITH_CLIENTS_AT_LEAST: Final = ssl.TLSVersion.TLSv1_3
"""Where clients show certificates. What came before resumes sessions without looking at them."""


class Encryption:
    """The certificate that the next client is shown, and the authorities of its own.

    An `SSLContext` forgets no authority, so that each replacement makes another one.
    """

    def __init__(self, cert: str, key: str, client_ca: str | None = None) -> None:
        """Read the files; raises `BadCertificate`."""
        self._files = CertificateFiles(cert, key, client_ca)
        self._paths = (cert, key, client_ca)
        self.context: Final = _context_of(*self._paths)
        """What servers listen with; it hands each connection to the newest."""
        self._newest = self.context
        self.context.sni_callback = self._take_newest

    def _take_newest(
        self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        """Look for newer files; called for each connection, also for one that names no server."""
        if self._files.replaced() is not None:
            try:
                self._newest = _context_of(*self._paths)
            except BadCertificate as error:
                # OpenSSL is stricter, or they were replaced once more since they were looked at.
                log.warning("certificate_unusable", error=str(error))
        connection.context = self._newest


def _context_of(cert: str, key: str, client_ca: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(f"{cert}, {key}, {client_ca}: {error}") from error
    if client_ca is not None:
        # A session that is resumed shows no certificate: it would outlive its authority.
        context.minimum_version = WITH_CLIENTS_AT_LEAST
        context.num_tickets = 0
    return context
