"""Whom a store process lets in: what its settings come to, and what its log says about it."""

from dataclasses import dataclass

from holdfast_chassis.certificates import BadCertificate, CertificateFiles
from holdfast_chassis.guarding import open_verifier
from holdfast_chassis.keys import BadKeys
from holdfast_chassis.logs import get_logger
from holdfast_store.rpc.guard import Guard
from holdfast_store.settings import StoreSettings

log = get_logger("holdfast_store")


class Unusable(Exception):
    """A file that a setting names cannot be used; the message is a sentence for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What guards the door; `None` where there is nothing."""

    guard: Guard | None
    certificate: CertificateFiles | None


def open_security(settings: StoreSettings) -> Security:
    """Read keys and certificates; raises `Unusable`."""
    try:
        verifier = open_verifier(settings)
    except BadKeys as error:
        raise Unusable(f"HOLDFAST_STORE_AUTH_KEYS is not usable: {error}.") from error
    guard = None if verifier is None else Guard(verifier, scaler_is_open=settings.auth_scaler_open)
    if settings.tls_cert is None or settings.tls_key is None:
        return Security(guard=guard, certificate=None)
    try:
        files = CertificateFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    except BadCertificate as error:
        raise Unusable(f"The files of HOLDFAST_STORE_TLS_* are not usable: {error}.") from error
    return Security(guard=guard, certificate=files)


def say_what_is_open(settings: StoreSettings) -> None:
    """Warn once of a door that anybody may use; outside of development it must be guarded."""
    if settings.auth_keys is None:
        log.warning(
            "authentication_off",
            reason="anybody who reaches this store may do everything: set HOLDFAST_STORE_AUTH_KEYS",
        )
    elif not settings.verifies_signatures:
        log.warning(
            "token_signatures_ignored",
            reason="HOLDFAST_STORE_AUTH_KEYS is none: anybody can make a token that counts here",
        )
    if settings.auth_keys is not None and settings.tls_cert is None:
        log.warning("tls_off", reason="tokens travel in plain text: set HOLDFAST_STORE_TLS_CERT")
