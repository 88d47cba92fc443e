"""The tree of a task survives an export and an import, which carry records and no indexes."""

from pathlib import Path

from holdfast.core.records import PREFIX, TARGET
from holdfast_store import storages
from holdfast_store.trees import tree_of
from tests.integration.store_archives.files import execute, migrated, url_of
from tests.integration.store_archives.processes import run
from tests.integration.store_db.records import queued, save, targeted

TREES = "SELECT id, tree FROM tasks ORDER BY id"


async def test_an_import_puts_every_task_into_its_tree(tmp_path: Path) -> None:
    source, target, file = tmp_path / "a.db", tmp_path / "b.db", tmp_path / "lines"
    migrated(source)
    storage = storages.open_storage(url_of(source))
    await storage.open()
    tags = {TARGET: "poll://any@workers", PREFIX: "one-run"}
    await save(
        storage,
        promises_created=[targeted("own-id", tags=tags), targeted("other.1")],
        tasks_created=[queued("own-id", at_ms=1), queued("other.1", at_ms=2)],
    )
    await storage.close()

    for command, database in (("export", source), ("import", target)):
        ended = await run(command, str(file), database=database)
        assert ended.code == 0, ended.err

    expected = [("other.1", tree_of("other")), ("own-id", tree_of("one-run"))]
    assert execute(source, TREES) == execute(target, TREES) == expected
