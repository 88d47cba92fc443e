"""Become a user, end with whoever started this, and run a program in this process's place.

`python launch.py UID GID PROGRAM…`. Tests run it instead of doing this between fork and exec: what
runs there in a process with gRPC's threads may crash, and sometimes does.
"""

import ctypes
import os
import resource
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1

FILE_BYTES_MAX: Final = "LAUNCHED_FILE_BYTES_MAX"
"""The variable with the size that no file of the program may pass; not set for any size."""


def main(uid: int, gid: int, command: list[str]) -> None:
    """Replace this process by the command."""
    if os.geteuid() != uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if FILE_BYTES_MAX in os.environ:
        size = int(os.environ[FILE_BYTES_MAX])
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    # Behind the change of user, which would undo it: the kernel stops the program when the tests
    # die, however they die.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
