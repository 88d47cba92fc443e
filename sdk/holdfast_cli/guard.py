"""Kills a group of processes when the one that started them is gone, however it went.

Run as a file of its own, as the leader of the process group that it guards, with a pipe as its
standard input. Nobody writes to the pipe: that it ends is the message. A SIGKILL of `holdfast dev`
cannot be caught, but it closes the pipe.
"""

import os
import signal


def main() -> None:
    """Wait for the end of standard input, then kill the whole group, this process included."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    os.kill(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
