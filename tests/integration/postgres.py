"""A PostgreSQL server of the tests' own, with a folder that goes with it.

It writes to the disk as one in earnest does: tests kill it and look for what it acknowledged.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import psycopg

from holdfast_store.db.postgres.restoration import OF_SCHEMA
from holdfast_store.db.tables import metadata
from holdfast_store.storages import migrate
from tests.integration.launch import FILE_BYTES_MAX

VERSION_MIN: Final = 15
START_S: Final = 60.0
USER: Final = "holdfast"
TEMPLATE: Final = "migrated"
LAUNCH: Final = Path(__file__).with_name("launch.py")
_UNPRIVILEGED: Final = ("postgres", "nobody")

SETTINGS: Final = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "log_min_error_statement": "panic",  # tests provoke errors; the log is for surprises
}


class PostgresMissing(Exception):
    """There is no PostgreSQL here that the tests could start."""


def find_programs() -> Path:
    """Find the folder of `initdb` and `postgres`, of the newest version; raise PostgresMissing."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    folders += Path("/usr/lib/postgresql").glob("*/bin")  # Debian keeps them away from PATH
    found = [folder for folder in folders if (folder / "initdb").exists()]
    versions = {version: folder for folder in found if (version := _version(folder)) is not None}
    if not versions or max(versions) < VERSION_MIN:
        raise PostgresMissing(
            f"PostgreSQL {VERSION_MIN} or newer was not found: install the package postgresql, or "
            "put the folder of initdb and postgres on PATH"
        )
    return versions[max(versions)]


def _version(folder: Path) -> int | None:
    if not (folder / "postgres").exists():
        return None
    told = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, check=False
    )
    words = told.stdout.split()
    return int(words[2].partition(".")[0]) if told.returncode == 0 else None


class Server:
    """A server on a socket in its own folder; it can be killed and started again."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # PostgreSQL refuses to run as root.
        self._account = _unprivileged() if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="holdfast-pg-"))
        self._data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._migrated: str | None = None
        self._bare: str | None = None
        self._names = (f"test_{number}" for number in count(1))

    # Life

    def create(self) -> None:
        """Make the files, start, and prepare the database that those of tests are copies of."""
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        # Not the order of bytes: what the store orders itself must not depend on this.
        order = ("--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en")
        options = ("--encoding=UTF8", f"--username={USER}", "--auth=trust", "--no-sync", *order)
        self._run("initdb", f"--pgdata={self._data}", *options)
        with (self._data / "postgresql.conf").open("a") as settings:
            for name, value in (SETTINGS | {"unix_socket_directories": str(self.folder)}).items():
                settings.write(f"{name} = '{value}'\n")
        self.start()
        self._administrate(f"CREATE DATABASE {TEMPLATE}")
        migrate(self.url(TEMPLATE))

    def start(self, *, file_bytes_max: int | None = None) -> None:
        """Start, and wait until it answers."""
        assert self._process is None, "it runs"
        limit = {} if file_bytes_max is None else {FILE_BYTES_MAX: str(file_bytes_max)}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._launch("postgres", "-D", str(self._data)),
                env=os.environ | limit,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        self.wait_ready()

    @property
    def is_running(self) -> bool:
        """Whether it was started and not ended since."""
        return self._process is not None

    def wait_ready(self) -> None:
        """Wait until a server that was started, or starts itself anew, answers."""
        assert self._process is not None, "it does not run"
        deadline = time.monotonic() + START_S
        while (trouble := self._trouble()) is not None:
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, f"{trouble}\n{self.log()}"
            time.sleep(0.02)

    def _trouble(self) -> str | None:
        """Say what is wrong with connecting; `None` when it works."""
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError as error:
            return str(error)
        return None

    def crash(self) -> None:
        """End everything at once, so that it recovers from its log when it starts again."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """Kill the first process alone; the others end when they notice, and free its memory."""
        self._end(signal.SIGKILL)
        deadline = time.monotonic() + START_S
        while left := self._processes():
            assert time.monotonic() < deadline, f"{left} outlived their server"
            time.sleep(0.01)

    def kill_session(self, application: str) -> bool:
        """Kill the process of one session of a program; the server starts all others anew."""
        select = "SELECT pid FROM pg_stat_activity WHERE application_name = '{}' LIMIT 1"
        found = query(self.url("postgres"), select.format(application))
        for (pid,) in found:
            os.kill(int(str(pid)), signal.SIGKILL)
        return bool(found)

    def _processes(self) -> list[int]:
        """Find whoever works in this server's folder."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "cwd").readlink() == self._data:
                    found.append(int(entry.name))
            except OSError:
                continue  # it ended meanwhile, or is not ours to look at
        return found

    def stop(self) -> None:
        """End in order, disconnecting whoever is there."""
        self._end(signal.SIGINT)

    def close(self) -> None:
        """Leave no process and no file."""
        if self._process is not None:
            self.crash()
        shutil.rmtree(self.folder)

    def _end(self, by: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(by)
        self._process.wait(timeout=START_S)
        self._process = None

    def log(self) -> str:
        """What the server had to say."""
        return (self.folder / "log").read_text(errors="replace")

    def set(self, setting: str, value: str) -> None:
        """Change a setting of the whole server, at once."""
        self._administrate(f"ALTER SYSTEM SET {setting} = '{value}'")
        self._administrate("SELECT pg_reload_conf()")

    @contextmanager
    def files_limited_to(self, size: int) -> Iterator[None]:
        """Run it again, unable to extend a file beyond a size, as if the disk were full."""
        self.stop()
        self.start(file_bytes_max=size)
        try:
            yield
        finally:
            self.stop()
            self.start()

    # Databases

    def url(self, database: str) -> str:
        """Address a database."""
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def create_database(self, *, template: str = TEMPLATE) -> str:
        """Make a database like the template; answer its address."""
        name = next(self._names)
        self._administrate(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def empty_database(self) -> str:
        """Answer the address of a migrated database without records; one test at a time has it.

        To make one takes half a second, to empty one some milliseconds.
        """
        if self._migrated is None:
            self._migrated = self.create_database()
        names = [table.name for table in metadata.sorted_tables if table not in OF_SCHEMA]
        _take_over(self._migrated, *(f"DELETE FROM {name}" for name in reversed(names)))
        return self._migrated

    def bare_database(self) -> str:
        """Answer the address of a database without tables; one test at a time has it."""
        if self._bare is None:
            self._bare = self.create_database(template="template1")
        _take_over(self._bare, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        return self._bare

    @contextmanager
    def reading(self, url: str, table: str) -> Iterator[None]:
        """Look at a table in a transaction that does not end, as a backup does."""
        with psycopg.connect(url) as connection:
            connection.execute(f"SELECT count(*) FROM {table}".encode())
            yield

    def _administrate(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    # Programs

    def _run(self, program: str, *arguments: str) -> None:
        ran = subprocess.run(
            self._launch(program, *arguments),
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr

    def _launch(self, program: str, *arguments: str) -> list[str]:
        account = self._account
        uid, gid = (
            (os.geteuid(), os.getegid()) if account is None else (account.pw_uid, account.pw_gid)
        )
        command = (str(self._programs / program), *arguments)
        return [sys.executable, "-S", str(LAUNCH), str(uid), str(gid), *command]


def _take_over(url: str, *statements: str) -> None:
    """End whoever is still connected, and run statements together."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for statement in statements:
            connection.execute(statement.encode())


def query(url: str, text: str) -> Sequence[tuple[object, ...]]:
    """Ask a database beside the store."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(text.encode())
        return cursor.fetchall() if cursor.description else []


@contextmanager
def running_server() -> Iterator[Server]:
    """Run a server for as long as it is wanted."""
    server = Server(find_programs())
    try:
        server.create()
        yield server
    finally:
        server.close()


def _unprivileged() -> pwd.struct_passwd:
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresMissing(f"PostgreSQL refuses root, and there is no user {_UNPRIVILEGED}")
