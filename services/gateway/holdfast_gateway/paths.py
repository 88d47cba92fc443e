"""Ids in paths: percent-encoded when they arrive, data and never paths afterwards."""

import re
from typing import Final
from urllib.parse import unquote

STEP_SUFFIX: Final = re.compile(r"\.([0-9]+|d[0-9a-f]{16})")
"""How the ids of steps end; a workflow of that name would be taken for a step of another one."""
KEY_CHARACTERS_MAX: Final = 256


def id_from_path(encoded: str) -> str:
    """Decode an id once; what is no UTF-8 is no id: it stays encoded, to be found nowhere."""
    try:
        return unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        return encoded


def names_a_step(workflow_id: str) -> bool:
    """Tell whether an id could be that of a step."""
    _, dot, last = workflow_id.rpartition(".")
    return STEP_SUFFIX.fullmatch(dot + last) is not None


def flaw_of_key(key: str) -> str | None:
    """Say why a client's key cannot name a workflow, or answer `None`."""
    if not 1 <= len(key) <= KEY_CHARACTERS_MAX:
        return f"must have 1 to {KEY_CHARACTERS_MAX} characters"
    if "\0" in key or key in {".", ".."}:
        return "must not contain NUL and must not be a relative path"
    if names_a_step(key):
        return "must not end in a dot and a number: steps are named like that"
    return None
