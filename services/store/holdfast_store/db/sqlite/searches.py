"""Listings of a SQLite file, on a reader's connection."""

from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
from holdfast_store.db.rows import json_text
from holdfast_store.db.search_statements import SearchStatements
from holdfast_store.db.searches import (
    ids_on_page,
    promise_page,
    schedule_page,
    task_page,
    woken,
)
from holdfast_store.db.session import Session
from holdfast_store.db.statements import Statements


def promises(
    session: Session, texts: SearchStatements, search: PromiseSearch, *, now_ms: int
) -> PromisePage:
    """List promises."""
    question = texts.promises(search, now_ms=now_ms)
    found = session.fetch(question.text, question.parameters)
    ids = ids_on_page(found, search.limit)
    records = session.promises_in_order(ids) if ids else []
    return promise_page(search, ids, records, more=len(found) > len(ids), now_ms=now_ms)


def tasks(
    session: Session,
    texts: SearchStatements,
    statements: Statements,
    search: TaskSearch,
    *,
    now_ms: int,
) -> TaskPage:
    """List tasks."""
    question = texts.tasks(search, now_ms=now_ms)
    found = session.fetch(question.text, question.parameters)
    ids = json_text([row[0] for row in found])
    woken_by = woken(session.fetch(statements.resumes, (ids,)))
    return task_page(search, found, woken_by, now_ms=now_ms)


def schedules(session: Session, texts: SearchStatements, search: ScheduleSearch) -> SchedulePage:
    """List schedules."""
    question = texts.schedules(search)
    found = session.fetch(question.text, question.parameters)
    ids = ids_on_page(found, search.limit)
    return schedule_page(search, ids, session.schedules(ids), more=len(found) > len(ids))
