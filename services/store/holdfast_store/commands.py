"""The commands that look at a database as a whole and end: check, export, import."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from holdfast_chassis.logs import get_logger
from holdfast_store import storages
from holdfast_store.archives.audit import Audit, Broken
from holdfast_store.archives.dump import CannotDump, dump
from holdfast_store.archives.load import LoadRefused, Source, load
from holdfast_store.archives.port import Archive, Kind
from holdfast_store.settings import (
    CheckSettings,
    ExportSettings,
    ImportSettings,
    MigrateSettings,
)
from holdfast_store.storage import SchemaMismatch, StorageError

if TYPE_CHECKING:
    from holdfast_store.db.revisions import Migration

PROGRAM: Final = "holdfast-store"
STANDARD: Final = "-"

BROKEN: Final = 1
"""Exit code of a check that found something, and of work that failed on the way."""
UNUSABLE: Final = 2
"""Exit code when a setting, an argument or the database does not permit to begin."""

_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
"""A link by that name may lead to a file that is nobody's leftover."""

log = get_logger("holdfast_store")


def complain(sentence: str) -> None:
    """Say on stderr what the operator must read."""
    print(f"{PROGRAM}: {sentence}", file=sys.stderr)  # noqa: T201 - see above


# Migrate


def migrate_command(settings: MigrateSettings) -> int:
    """Bring the tables up to date, or say what that would mean."""
    try:
        storages.open_storage(settings.database_url)
    except StorageError as error:
        complain(f"HOLDFAST_STORE_DATABASE_URL is not usable: {error}.")
        return UNUSABLE
    ran: list[Migration] = []

    def tell(migration: "Migration", seconds: float) -> None:
        ran.append(migration)
        _say(f"{migration}: done in {seconds:.1f} s")

    try:
        if settings.check:
            return _foretell(settings)
        newest = storages.migrate(settings.database_url, contract=settings.contract, told=tell)
    except SchemaMismatch as error:
        complain(f"The database was not migrated: {error}.")
        return UNUSABLE
    except StorageError as error:
        complain(
            f"The database was not migrated to the end: {error}. What is said above is done, and "
            "the same command does the rest."
        )
        return BROKEN
    if not ran:
        _say(f"nothing to do at revision {newest or 'none'}")
    log.info("database_migrated", revision=newest)
    return 0


def _say(sentence: str) -> None:
    """Answer on stdout, at once: what follows may take long."""
    print(sentence, flush=True)  # noqa: T201 - what was asked for


def _foretell(settings: MigrateSettings) -> int:
    outlook = storages.outlook(settings.database_url)
    if outlook is None:
        _say("nothing to do in memory")
        return 0
    wanted = outlook.wanted(contract=settings.contract)
    for migration in wanted:
        _say(f"{migration}: would be done")
    if not settings.contract:
        for migration in outlook.contracting:
            _say(f"{migration}: waits for --contract")
    if not wanted:
        _say(f"nothing to do at revision {outlook.newest or 'none'}")
    return BROKEN if wanted else 0


# Check


def check_command(settings: CheckSettings) -> int:
    """Judge a database by the invariants; print what is broken."""
    archive = _archive(settings.database_url)
    return UNUSABLE if archive is None else _run(_check(archive, settings))


async def _check(archive: Archive, settings: CheckSettings) -> int:
    audit: Audit | None = None
    unread: StorageError | None = None
    try:
        async with archive.snapshot() as snapshot:
            audit = Audit(snapshot, now_ms=snapshot.now_ms, profile=settings.profile())
            await audit.run()
    except StorageError as error:
        unread = error
    broken = [] if audit is None else audit.broken()
    for rule in broken:
        print(_sentence(rule))  # noqa: T201 - what was asked for
    if unread is not None:
        complain(f"The database could not be checked to its end: {unread}.")
        return BROKEN if broken else UNUSABLE
    assert audit is not None
    print(_summary(audit.counts, broken))  # noqa: T201 - what was asked for
    return BROKEN if broken else 0


def _sentence(broken: Broken) -> str:
    """Say on one line what is broken, where, and what the first such row holds."""
    names = [_word(violation.subject) for violation in broken.first]
    more = broken.count - len(names)
    rest = f" and {more} more" if more else ""
    first = f"{names[0]} is {_word(broken.first[0].found)}"
    return f"{broken.rule} {broken.meaning}: broken by {', '.join(names)}{rest}; {first}"


def _word(text: str) -> str:
    """Keep a text on its line, whatever it holds."""
    return text if text.isprintable() else ascii(text)


def _summary(counts: dict[Kind, int], broken: Sequence[Broken]) -> str:
    checked = f"checked {_counted(counts)}"
    if not broken:
        return f"{checked}: every invariant holds"
    rows = sum(rule.count for rule in broken)
    rules = "1 invariant is" if len(broken) == 1 else f"{len(broken)} invariants are"
    times = "once" if rows == 1 else f"{rows} times"
    return f"{checked}: {rules} broken, {times} in all"


def _counted(counts: dict[Kind, int]) -> str:
    return ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())


# Export


def export_command(settings: ExportSettings) -> int:
    """Write a database out as lines."""
    archive = _archive(settings.database_url)
    return UNUSABLE if archive is None else _run(_export(archive, settings.file))


async def _export(archive: Archive, name: str) -> int:
    if name != STANDARD and Path(name).exists():  # noqa: ASYNC240 - nothing else runs here
        complain(f"The file {name} exists already; export writes new files only.")
        return UNUSABLE
    try:
        async with archive.snapshot() as snapshot:
            with _target(name) as file:
                counts = await dump(snapshot, file.write, now_ms=snapshot.now_ms)
    except StorageError as error:
        complain(f"The database was not exported: {error}.")
        return UNUSABLE
    except CannotDump as error:
        complain(f"The database was not exported: {error}; run `{PROGRAM} check`.")
        return BROKEN
    except OSError as error:
        complain(f"The export was not written to {name}: {error}.")
        return BROKEN
    log.info("database_exported", **_keys(counts))
    return 0


@contextlib.contextmanager
def _target(name: str) -> Iterator[BinaryIO]:
    """Open what is written to. A file gets its name when it is complete and on the disk."""
    if name == STANDARD:
        with open(sys.stdout.fileno(), "wb", closefd=False) as out:
            yield out
        return
    path = Path(name)
    part = path.with_name(f"{path.name}.part")
    with _part(part) as file:
        # All of it while the file is held, so that nobody else takes it up.
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.rename(path)
        except BaseException:
            part.unlink()
            raise
    _sync_folder(path.parent)


class PartTaken(OSError):
    """Another export writes to the same name now."""


def _part(part: Path) -> BinaryIO:
    """Open what gets its name later; what a killed export has left there is written over.

    Readable by its owner only: it holds every payload.
    """
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | _NO_LINK, 0o600)
    try:
        if sys.platform != "win32":
            _hold(descriptor, part)
        os.ftruncate(descriptor, 0)
        os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "wb")


def _hold(descriptor: int, part: Path) -> None:
    """Lock a file, which the system lets go however this process ends."""
    import fcntl  # noqa: PLC0415 - not everywhere

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PartTaken(f"another export writes {part} now") from error
    if not part.exists() or not os.path.samestat(os.fstat(descriptor), part.stat()):
        raise PartTaken(f"another export has just written {part}")


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk as well."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Import


def import_command(settings: ImportSettings) -> int:
    """Read lines into a database that is empty, or new."""
    archive = _archive(settings.database_url)
    if archive is None:
        return UNUSABLE
    try:
        with _source(settings.file) as file:
            return _run(_import(archive, settings.database_url, Source(file)))
    except OSError as error:
        complain(f"The file {settings.file} cannot be read: {error}.")
        return UNUSABLE


async def _import(archive: Archive, url: str, source: Source) -> int:
    try:
        header = source.header()  # before a file for the database is made
        storages.migrate(url)
        async with archive.restoration() as restoration:
            await load(source, header, restoration)
    except LoadRefused as error:
        complain(f"Nothing was imported: {error}.")
        return BROKEN
    except StorageError as error:
        complain(f"Nothing was imported: {error}.")
        return UNUSABLE
    log.info("database_imported", **_keys(source.counts))
    return 0


@contextlib.contextmanager
def _source(name: str) -> Iterator[BinaryIO]:
    if name == STANDARD:
        yield sys.stdin.buffer
        return
    with Path(name).open("rb") as file:
        yield file


# All of them


def _archive(url: str) -> Archive | None:
    try:
        return storages.open_archive(url)
    except StorageError as error:
        complain(f"HOLDFAST_STORE_DATABASE_URL is not usable: {error}.")
        return None


def _run(work: Coroutine[None, None, int]) -> int:
    """Run work to its end, or to the first signal; what was begun is then undone."""
    # Not by the event loop, which would not hear of it while a pipe that nobody reads is full.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        complain("Stopped before the end; nothing was kept.")
        return BROKEN
    finally:
        signal.signal(signal.SIGTERM, before)


def _keys(counts: dict[Kind, int]) -> dict[str, int]:
    return {f"{kind}s": count for kind, count in counts.items()}
