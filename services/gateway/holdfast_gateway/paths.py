"""Ids in paths: percent-encoded when they arrive, data and never paths afterwards."""

from urllib.parse import unquote


def id_from_path(encoded: str) -> str:
    """Decode an id once; what is no UTF-8 is no id: it stays encoded, to be found nowhere."""
    try:
        return unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        return encoded
