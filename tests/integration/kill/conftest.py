"""One system for all tests of this folder: starting it is what takes time."""

from collections.abc import Generator, Iterator

import pytest

from tests.integration.kill.system import System

_SYSTEM = pytest.StashKey[System]()


@pytest.fixture(scope="session")
def running_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Run everything until the last test that wants it is over."""
    system = System(tmp_path_factory.mktemp("kill"))
    try:
        yield system
    finally:
        system.close()


@pytest.fixture
def system(running_system: System, request: pytest.FixtureRequest) -> System:
    """Everything alive and ready, whatever the test before has killed."""
    request.node.stash[_SYSTEM] = running_system
    running_system.heal()
    running_system.mark_logs()
    return running_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes logged during a test that failed."""
    report = yield
    system = item.stash.get(_SYSTEM, None)
    if report.failed and system is not None:
        for name, text in system.logs():
            report.sections.append((f"log of {name}", text))
        for kind, points in system.points.items():
            visits = "\n".join(f"{v.os_pid} {v.point} {v.step_id}" for v in points.visits())
            report.sections.append((f"points of {kind}", visits))
    return report
