"""TLS for REST, by a certificate that may be replaced while the process runs."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final

from holdfast_chassis.certificates import CertificateFiles
from holdfast_chassis.logs import get_logger

log = get_logger(__name__)

PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """The files of a server's certificate, checked as they change."""

    files: CertificateFiles
    cert: str
    key: str

    async def keep_current(self, context: ssl.SSLContext) -> None:
        """Have new connections see a certificate soon after it was replaced."""
        used = self.files.current
        while True:
            await asyncio.sleep(PAUSE_S)
            self.files.replaced()  # perhaps another server of this process has found it out before
            if self.files.current is used:
                continue
            found = self.files.current
            try:
                context.load_cert_chain(self.cert, self.key)
                used = found
            except (OSError, ssl.SSLError) as error:
                # They were replaced once more since they were found to be right.
                log.warning("certificate_unusable", error=str(error))
