"""The store is killed at every point of a run on PostgreSQL, and PostgreSQL under load."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.kill import test_store_kills as on_files
from tests.integration.kill.processes import until
from tests.integration.kill.runs import OrderRun
from tests.integration.kill.system import System
from tests.integration.postgres import Server
from tests.integration.store_postgres.evidence import BooksOnServer, StoreOnServer, make_databases

pytestmark = pytest.mark.timeout(300)

ORDERS_AT_ONCE = 8
CRASHES = 3


@pytest.fixture(scope="module")
def databases(own_server: Server) -> tuple[StoreOnServer, BooksOnServer]:
    """Make both databases of a system on the server that tests may kill."""
    return make_databases(own_server)


@pytest.fixture(scope="module")
def running_system(
    tmp_path_factory: pytest.TempPathFactory, databases: tuple[StoreOnServer, BooksOnServer]
) -> Iterator[System]:
    """Run everything on PostgreSQL."""
    store, books = databases
    system = System(tmp_path_factory.mktemp("kill-postgres"), store_file=store, books=books)
    try:
        yield system
    finally:
        system.close()


@pytest.fixture
def system(running_system: System) -> System:
    """Everything alive and ready, whatever the test before has killed."""
    running_system.heal()
    return running_system


# To a database `decided` is as `loaded`, and `answered` as `committed`. What differs between them
# is the own business of the store, which is killed there on a file.
@pytest.mark.parametrize("point", ["loaded", "committing", "committed"])
def test_a_killed_store_keeps_what_it_acknowledged_and_no_halves(
    system: System, point: str
) -> None:
    on_files.test_a_killed_store_keeps_what_it_acknowledged_and_no_halves(system, "orders", point)


def test_orders_survive_a_server_that_crashes_under_load(
    system: System, own_server: Server
) -> None:
    """What the server acknowledged is in its log; what it did not is asked for again."""
    runs = [OrderRun(system) for _ in range(ORDERS_AT_ONCE * CRASHES)]

    def play(run: OrderRun) -> None:
        run.begin()
        run.play()

    with ThreadPoolExecutor(ORDERS_AT_ONCE) as pool:
        playing = [pool.submit(play, run) for run in runs]
        for _ in range(CRASHES):
            done = sum(each.done() for each in playing)
            until(lambda: sum(e.done() for e in playing) > done, "an order was done")  # noqa: B023
            own_server.crash()
            own_server.start()
        for each in playing:
            each.result()

    for run in runs:
        run.assert_effects()
    system.store.kill()
    system.store_file.after_death().assert_sound()
