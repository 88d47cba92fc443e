"""The settings by which a process goes to the promise store: its token, and whom it believes.

A mixin for settings classes. Nothing is sent until it is named, and files may be replaced while the
process runs.
"""

from dataclasses import dataclass

from holdfast_chassis.settings import setting


@dataclass(frozen=True, kw_only=True)
class StoreAccessSettings:
    """How a process makes itself known to the promise store, and whom it believes to be one."""

    store_token_file: str | None = setting(
        None,
        doc="File with the bearer token for the promise store; it may be replaced while the process"
        " runs. unset: no token is sent.",
    )
    store_tls_ca: str | None = setting(
        None,
        doc="File with the certificate authorities in PEM that vouch for the promise store, where"
        " its URL begins with grpcs://; unset: those of the system.",
    )
    store_tls_cert: str | None = setting(
        None, doc="File with the certificate chain in PEM that the promise store is shown."
    )
    store_tls_key: str | None = setting(None, doc="File with the private key of that certificate.")
