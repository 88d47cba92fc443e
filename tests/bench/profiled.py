"""Runs a module under cProfile: `python -m tests.bench.profiled FILE MODULE ARGUMENTS`.

Other threads are profiled too where Python can, which is up to 3.11. Times are of the clock on the
wall: reading a thread's processor time at each call would cost more than the calls.
"""

import cProfile
import pstats
import runpy
import sys
import threading
from types import FrameType

_profiles: list[cProfile.Profile] = []


def main() -> None:
    """Run the module as `python -m` would, then write the profile of all its threads."""
    _, output, module, *arguments = sys.argv
    sys.argv = [module, *arguments]
    if sys.version_info < (3, 12):  # from then on one profiler may be active in a process
        threading.setprofile(_on_first_event)
    try:
        with _new_profile():
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        pstats.Stats(*(profile for profile in _profiles if profile.getstats())).dump_stats(output)


def _new_profile() -> cProfile.Profile:
    profile = cProfile.Profile()
    _profiles.append(profile)
    return profile


def _on_first_event(_frame: FrameType, _event: str, _argument: object) -> None:
    """Put cProfile in the place of this function, in the thread that has just begun."""
    _new_profile().enable()


if __name__ == "__main__":
    main()
