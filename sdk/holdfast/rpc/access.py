"""Who a client says it is, and whom it believes to be a store.

Files may be replaced while the program runs: each new connection and each call that stands alone
takes what they hold by then.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias, TypeVar

import grpc

from holdfast.errors import ServerUnavailable, Unauthenticated
from holdfast.rpc.roots import system_roots
from holdfast.settings import Environment

Metadata: TypeAlias = tuple[tuple[str, str], ...]

TOKEN_BYTES_MAX: Final = 16_384

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A token or the file that holds one, and the files of TLS; whatever is absent is not used."""

    token: str | None = None
    token_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be meant together."""
        if self.token is not None and self.token_file is not None:
            raise ValueError("a token and the file of a token were given: give one of them")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("a certificate and its key must be given together")

    def check(self) -> None:
        """Raise ValueError now for a file that could not be used later."""
        try:
            self.metadata()
            self.credentials()
        except (Unauthenticated, ServerUnavailable) as error:
            raise ValueError(error.message) from error

    def metadata(self) -> Metadata:
        """Make call metadata that carries the token; raises `Unauthenticated`."""
        token = self.token if self.token_file is None else self._read_token(self.token_file)
        return () if token is None else (("authorization", f"Bearer {token}"),)

    def credentials(self) -> grpc.ChannelCredentials:
        """Make credentials for TLS; raises `ServerUnavailable`."""
        return grpc.ssl_channel_credentials(
            root_certificates=_optional(self.ca_file, _read_tls) or system_roots(),
            private_key=_optional(self.key_file, _read_tls),
            certificate_chain=_optional(self.cert_file, _read_tls),
        )

    @staticmethod
    def _read_token(path: str) -> str:
        try:
            with Path(path).open("rb") as file:
                token = file.read(TOKEN_BYTES_MAX + 1).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or "it holds no token"
            raise Unauthenticated(
                f"the token file {path} cannot be read: {reason}", code="token_unreadable"
            ) from error
        if not token or len(token) > TOKEN_BYTES_MAX or not token.isprintable():
            raise Unauthenticated(
                f"the token file {path} must hold one token", code="token_unreadable"
            )
        return token


ANONYMOUS: Final = Access()
"""For stores that ask nobody for a token and show certificates of the usual authorities, if any."""


def access_of(environment: Environment, *, token: str | None = None) -> Access:
    """Take what the `RESONATE_*` variables say; a token that is given replaces theirs.

    Raises `ValueError` for variables that contradict each other.
    """
    return Access(
        token=token or environment.token,
        token_file=None if token else environment.token_file,
        ca_file=environment.tls_ca,
        cert_file=environment.tls_cert,
        key_file=environment.tls_key,
    )


class BadAccess(ValueError):
    """What a process was given for the store cannot be used; the message says what and why."""


class StoreFiles(Protocol):
    """The settings of a service that name files for its way to the store."""

    @property
    def store_token_file(self) -> str | None:
        """Where its token is."""

    @property
    def store_tls_ca(self) -> str | None:
        """Who vouches for the store."""

    @property
    def store_tls_cert(self) -> str | None:
        """What it shows the store."""

    @property
    def store_tls_key(self) -> str | None:
        """The key of that."""


def access_by(files: StoreFiles) -> Access:
    """Take the files that a service's settings name; raises `BadAccess`."""
    try:
        access = Access(
            token_file=files.store_token_file,
            ca_file=files.store_tls_ca,
            cert_file=files.store_tls_cert,
            key_file=files.store_tls_key,
        )
        access.check()
    except ValueError as error:
        raise BadAccess(f"the promise store cannot be asked: {error}") from error
    return access


def _optional(path: str | None, read: Callable[[str], _T]) -> _T | None:
    return None if path is None else read(path)


def _read_tls(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ServerUnavailable(
            f"the file {path}, for TLS to the store, cannot be read: {error.strerror}",
            code="tls_file_unreadable",
        ) from error
