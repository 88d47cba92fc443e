"""Programs that hear the signals of a person, however the suite itself was started.

A shell without job control starts what runs in its background with SIGINT ignored, `nohup` with
SIGHUP, and everything that this starts in turn inherits it: a suite that runs so would send them in
vain.
"""

import sys
from typing import Final

_HEARING: Final = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def hearing(*command: str) -> list[str]:
    """Make the command that starts another one with these signals at their default."""
    return [sys.executable, "-IS", "-c", _HEARING, *command]
