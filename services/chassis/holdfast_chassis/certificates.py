"""Certificates for TLS, from files that may be replaced while the process runs.

Whoever replaces them is trusted to do so in any order: a certificate and a key that do not belong
together are not used, and what was used before stays until they do.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificates

from holdfast_chassis.files import Watched
from holdfast_chassis.logs import get_logger

log = get_logger(__name__)


class BadCertificate(Exception):
    """Files for TLS that cannot be used; the message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a server shows, and whose certificates its clients must show, if they must."""

    chain: bytes
    key: bytes
    client_ca: bytes | None = None


class CertificateFiles:
    """The certificate of a server; safe to ask from any thread."""

    def __init__(self, cert: str, key: str, client_ca: str | None = None) -> None:
        """Read the files; raises `BadCertificate`."""
        paths = [Path(path) for path in (cert, key, client_ca) if path is not None]
        self._watched = Watched(paths, pause_s=0)
        self._lock = threading.Lock()
        try:
            contents = self._watched.read()
        except OSError as error:
            raise BadCertificate(f"{error.filename or self._watched}: {error.strerror}") from error
        self.current = _checked(contents, str(self._watched))

    def replaced(self) -> Certificate | None:
        """Answer the certificate if it was replaced since the last time and can be used."""
        with self._lock:
            contents = self._watched.read_if_replaced()
            if contents is None:
                return None
            try:
                self.current = _checked(contents, str(self._watched))
            except BadCertificate as error:
                log.warning("certificate_unusable", error=str(error))
                return None
            log.info("certificate_replaced", path=str(self._watched))
            return self.current


def _checked(contents: list[bytes], where: str) -> Certificate:
    chain, key, *more = contents
    try:
        certificate, *_ = load_pem_x509_certificates(chain)
        private = load_pem_private_key(key, password=None)
        for authorities in more:
            load_pem_x509_certificates(authorities)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadCertificate(
            f"{where}: these must be certificates and a key in PEM: {error}"
        ) from error
    shown, own = (
        each.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for each in (certificate.public_key(), private.public_key())
    )
    if shown != own:
        raise BadCertificate(f"{where}: the key is not the one of the certificate")
    return Certificate(chain=chain, key=key, client_ca=more[0] if more else None)
