import sqlite3

from holdfast_store.db.tables import callbacks, promises
from tests.bench.filling import copies


def test_a_copy_has_every_id_of_its_own_and_nothing_of_a_neighbour() -> None:
    connection = sqlite3.connect(":memory:")
    for table in ("promises", "tasks", "callbacks", "resumes"):
        columns = next(t for t in promises.metadata.sorted_tables if t.name == table).columns
        names = ", ".join(f'"{column.name}"' for column in columns)
        connection.execute(f"CREATE TABLE {table} ({names})")
    connection.executemany(
        "INSERT INTO promises (id, tags, timeout_at_ms) VALUES (?, ?, ?)",
        [("r", '{"o":"r"}', 5), ("r.1", '{"o":"r"}', 6), ("rest", '{"o":"rest"}', 7)],
    )
    connection.execute("INSERT INTO callbacks (awaited, awaiter) VALUES ('r.1', 'r')")

    for statement in copies("r", numbers="(SELECT 1 AS n UNION ALL SELECT 2)"):
        connection.execute(statement)

    found = connection.execute("SELECT id, timeout_at_ms FROM promises ORDER BY id").fetchall()
    assert found == [
        ("r", 5),
        ("r-1", 5),
        ("r-1.1", 6),
        ("r-2", 5),
        ("r-2.1", 6),
        ("r.1", 6),
        ("rest", 7),
    ]
    awaited = f"SELECT awaited, awaiter FROM {callbacks.name} ORDER BY awaited"
    assert connection.execute(awaited).fetchall() == [
        ("r-1.1", "r-1"),
        ("r-2.1", "r-2"),
        ("r.1", "r"),
    ]
    connection.close()
