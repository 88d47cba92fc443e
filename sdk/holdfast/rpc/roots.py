"""The system's certificate authorities, for stores that are certified by public ones."""

import os
import ssl
from pathlib import Path


def system_roots() -> bytes | None:
    """Read the system's certificate authorities; `None` leaves gRPC its own list.

    gRPC's environment variable wins, as everywhere else.
    """
    if os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
        return None
    found: str | None = ssl.get_default_verify_paths().cafile  # the types do not know `None`
    return Path(found).read_bytes() if found else None
