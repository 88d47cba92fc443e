"""Statements that find trees that are over, and delete them; portable but for the locks.

A promise is over when it ended before an instant, and nothing in the database names it that could
make somebody ask for it again. That never changes back: what is settled gets no new obligation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from holdfast_store.db.dialects import Dialect, IdText
from holdfast_store.db.statements import NOTHING
from holdfast_store.db.tables import (
    callbacks,
    is_open,
    is_root,
    listeners,
    outbox,
    promises,
    resumes,
    tasks,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionStatements:
    """Texts for a driver, with the parameters named in each docstring, in that order."""

    unfiled: str
    """limit → id and tags of promises whose tree is not noted, locked."""
    file: str
    """origin, id →"""
    any_unfiled: str
    """→ 1 if there is any."""
    roots: str
    """before_ms four times, at_ms twice, id, limit → the fields of `Root`."""
    tree_part: str
    """before_ms three times, root, behind, limit → id and whether it is over, by id."""
    members: str
    """root, behind, before_ms three times, limit → ids that are over but the root's, locked."""
    lone_roots: str
    """ids, before_ms three times → roots that are over and have nothing left, locked."""
    delete: str
    """ids →"""


def build(dialect: Dialect, *, locks: bool) -> RetentionStatements:
    """Compile all of them; with `locks`, what is to be changed is locked unless somebody has it."""

    def text(statement: sa.Executable, *parameters: str) -> str:
        compiled, names = dialect.compile(statement)
        expected = tuple(dict.fromkeys(parameters)) if dialect.names_parameters else parameters
        assert names == expected, f"{names} are not {expected} in {compiled}"
        return compiled

    def locked(statement: sa.Select[Any]) -> sa.Select[Any]:
        return statement.with_for_update(of=promises, skip_locked=True) if locks else statement

    limit: sa.BindParameter[int] = sa.bindparam("limit")
    key = sa.bindparam("key", type_=IdText)
    return RetentionStatements(
        unfiled=text(
            locked(
                sa.select(promises.c.id, promises.c.tags)
                .where(is_unfiled)
                .limit(limit)
                .offset(NOTHING)
            ),
            "limit",
        ),
        file=text(
            sa.update(promises)
            .where(promises.c.id == key)
            .values(origin=sa.bindparam("origin", type_=IdText)),
            "origin",
            "key",
        ),
        any_unfiled=text(
            sa.select(_ONE).select_from(promises).where(is_unfiled).limit(_ONE).offset(NOTHING)
        ),
        roots=text(_roots(), *_ROOTS),
        tree_part=text(_tree_part(), *_IS_OVER, "root", "behind", "limit"),
        members=text(locked(_members()), "root", "behind", *_IS_OVER, "limit"),
        lone_roots=text(locked(_lone_roots(dialect)), "ids", *_IS_OVER),
        delete=text(sa.delete(promises).where(dialect.among(promises.c.id, "ids")), "ids"),
    )


is_unfiled = promises.c.origin.is_(None)
_ONE: sa.ColumnElement[int] = sa.literal_column("1")
_IS_OVER = ("before_ms", "before_ms", "before_ms")
_ROOTS = (*_IS_OVER, "before_ms", "at_ms", "at_ms", "id", "limit")


def _is_over(one: sa.FromClause) -> sa.ColumnElement[bool]:
    before_ms = sa.bindparam("before_ms", type_=sa.BigInteger)
    ended = sa.or_(
        sa.and_(one.c.state != sa.literal_column("'pending'"), one.c.settled_at_ms < before_ms),
        # Nobody has waited for it, so that its deadline made no row of it.
        sa.and_(
            one.c.state == sa.literal_column("'pending'"),
            ~one.c.armed,
            one.c.timeout_at_ms < before_ms,
        ),
    )
    named = (
        sa.exists().where(tasks.c.id == one.c.id, is_open),
        sa.exists().where(callbacks.c.awaited == one.c.id),
        # It would go with the task, behind the back of whoever knows the awaited promise.
        sa.exists().where(callbacks.c.awaiter == one.c.id),
        sa.exists().where(listeners.c.promise_id == one.c.id),
        sa.exists().where(resumes.c.awaited == one.c.id),
        sa.exists().where(outbox.c.promise_id == one.c.id),
    )
    return sa.and_(ended, one.c.created_at_ms < before_ms, *(~each for each in named))


def _is_let_go(root: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether the promise that created a root is gone.

    A workflow that runs again creates its children again, those with trees of their own too. They
    must be there for as long as it may.
    """
    creator = promises.alias("creator")
    return sa.or_(
        root.c.parent.is_(None),
        root.c.parent == root.c.id,
        ~sa.exists().where(creator.c.id == root.c.parent),
    )


def _roots() -> sa.Select[Any]:
    at_ms = sa.bindparam("at_ms", type_=sa.BigInteger)
    is_over = sa.case((sa.and_(_is_over(promises), _is_let_go(promises)), _ONE), else_=NOTHING)
    return (
        sa.select(
            promises.c.id,
            promises.c.created_at_ms,
            sa.func.coalesce(promises.c.settled_at_ms, promises.c.timeout_at_ms),
            is_over,
        )
        .where(
            is_root,
            promises.c.created_at_ms < sa.bindparam("before_ms", type_=sa.BigInteger),
            promises.c.created_at_ms >= at_ms,
            sa.or_(
                promises.c.created_at_ms > at_ms,
                promises.c.id > sa.bindparam("id", type_=IdText),
            ),
        )
        .order_by(promises.c.created_at_ms, promises.c.id)
        .limit(sa.bindparam("limit"))
        .offset(NOTHING)
    )


def _behind(columns: Callable[[], sa.Select[Any]]) -> sa.Select[Any]:
    return columns().where(
        promises.c.origin == sa.bindparam("root", type_=IdText),
        promises.c.id > sa.bindparam("behind", type_=IdText),
    )


def _tree_part() -> sa.Select[Any]:
    is_over = sa.case((_is_over(promises), _ONE), else_=NOTHING)
    return (
        _behind(lambda: sa.select(promises.c.id, is_over))
        .order_by(promises.c.id)
        .limit(sa.bindparam("limit"))
        .offset(NOTHING)
    )


def _members() -> sa.Select[Any]:
    return (
        _behind(lambda: sa.select(promises.c.id))
        .where(promises.c.id != promises.c.origin, _is_over(promises))
        .order_by(promises.c.id)
        .limit(sa.bindparam("limit"))
        .offset(NOTHING)
    )


def _lone_roots(dialect: Dialect) -> sa.Select[Any]:
    member = promises.alias("member")
    others = sa.exists().where(member.c.origin == promises.c.id, member.c.id != promises.c.id)
    return sa.select(promises.c.id).where(
        dialect.among(promises.c.id, "ids"), _is_over(promises), _is_let_go(promises), ~others
    )
