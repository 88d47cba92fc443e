"""Listings of a PostgreSQL database, on a reader's connection."""

from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
from holdfast_store.db.postgres.session import PostgresSession
from holdfast_store.db.search_statements import SearchStatements
from holdfast_store.db.searches import (
    ids_on_page,
    promise_page,
    schedule_page,
    task_page,
    woken,
)
from holdfast_store.db.statements import Statements


async def promises(
    session: PostgresSession, texts: SearchStatements, search: PromiseSearch, *, now_ms: int
) -> PromisePage:
    """List promises."""
    question = texts.promises(search, now_ms=now_ms)
    found = await session.fetch(question.text, *question.parameters)
    ids = ids_on_page(found, search.limit)
    records = await session.promises_in_order(ids) if ids else []
    return promise_page(search, ids, records, more=len(found) > len(ids), now_ms=now_ms)


async def tasks(
    session: PostgresSession,
    texts: SearchStatements,
    statements: Statements,
    search: TaskSearch,
    *,
    now_ms: int,
) -> TaskPage:
    """List tasks."""
    question = texts.tasks(search, now_ms=now_ms)
    found = await session.fetch(question.text, *question.parameters)
    woken_by = woken(await session.fetch(statements.resumes, [row[0] for row in found]))
    return task_page(search, found, woken_by, now_ms=now_ms)


async def schedules(
    session: PostgresSession, texts: SearchStatements, search: ScheduleSearch
) -> SchedulePage:
    """List schedules."""
    question = texts.schedules(search)
    found = await session.fetch(question.text, *question.parameters)
    ids = ids_on_page(found, search.limit)
    return schedule_page(search, ids, await session.schedules(ids), more=len(found) > len(ids))
