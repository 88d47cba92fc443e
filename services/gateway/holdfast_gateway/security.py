"""Whom a gateway lets in: what its settings come to, and what its log says about it."""

from dataclasses import dataclass

from holdfast_chassis.certificates import BadCertificate
from holdfast_chassis.guarding import open_verifier
from holdfast_chassis.keys import BadKeys
from holdfast_chassis.logs import get_logger
from holdfast_chassis.tokens import Verifier
from holdfast_gateway.encryption import Encryption
from holdfast_gateway.settings import GatewaySettings

log = get_logger("holdfast_gateway")


class Unusable(Exception):
    """A file that a setting names cannot be used; the message is for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What guards the door; `None` where there is nothing."""

    verifier: Verifier | None
    encryption: Encryption | None


def open_security(settings: GatewaySettings) -> Security:
    """Read keys and certificates; raises `Unusable`."""
    try:
        verifier = open_verifier(settings)
    except BadKeys as error:
        raise Unusable(f"HOLDFAST_GATEWAY_AUTH_KEYS is not usable: {error}") from error
    if settings.tls_cert is None or settings.tls_key is None:
        return Security(verifier=verifier, encryption=None)
    try:
        encryption = Encryption(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    except BadCertificate as error:
        raise Unusable(f"The files of HOLDFAST_GATEWAY_TLS_* are not usable: {error}") from error
    return Security(verifier=verifier, encryption=encryption)


def say_what_is_open(settings: GatewaySettings) -> None:
    """Warn once of a door that anybody may use; outside of development it must be guarded."""
    if settings.auth_keys is None:
        # Beside signed webhooks there is no /v1, and the bridge all the same.
        door = "its bridge" if settings.webhook_secrets else "this gateway"
        log.warning(
            "authentication_off",
            reason=f"anybody who reaches {door} may read and settle every promise:"
            " set HOLDFAST_GATEWAY_AUTH_KEYS",
        )
    if settings.auth_keys is not None and not settings.verifies_signatures:
        log.warning(
            "token_signatures_ignored",
            reason="HOLDFAST_GATEWAY_AUTH_KEYS is none: anybody can make a token that counts here",
        )
