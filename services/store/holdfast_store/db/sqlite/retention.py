"""Old trees of a SQLite file: found by a reader, deleted by the writer."""

from collections.abc import Sequence
from functools import cache

from holdfast_store.db import retention_statements
from holdfast_store.db.dialects import Sqlite
from holdfast_store.db.retention_statements import RetentionStatements
from holdfast_store.db.rows import json_text, origin_of
from holdfast_store.db.session import Session
from holdfast_store.storage import Pruned, Root, TreePart


@cache
def _statements() -> RetentionStatements:
    return retention_statements.build(Sqlite(), locks=False)


def file_origins(session: Session, *, limit: int) -> bool:
    """Note the trees of so many promises; answer whether none is left."""
    texts = _statements()
    unfiled = session.fetch(texts.unfiled, (limit,))
    session.run_each(texts.file, [(origin_of(key, tags), key) for key, tags in unfiled])
    return not session.fetch(texts.any_unfiled)


def roots(session: Session, *, before_ms: int, behind: tuple[int, str], limit: int) -> list[Root]:
    """List roots that were created before an instant."""
    at_ms, root_id = behind
    parameters = (*[before_ms] * 4, at_ms, at_ms, root_id, limit)
    return [
        Root(id=key, created_at_ms=created, ended_at_ms=ended, is_over=bool(is_over))
        for key, created, ended, is_over in session.fetch(_statements().roots, parameters)
    ]


def tree_part(session: Session, root: str, *, before_ms: int, behind: str, limit: int) -> TreePart:
    """Look at so many promises of a tree."""
    parameters = (*[before_ms] * 3, root, behind, limit)
    found = session.fetch(_statements().tree_part, parameters)
    return TreePart(
        seen=len(found),
        is_over=all(is_over for _, is_over in found),
        last=found[-1][0] if found else behind,
    )


def prune(
    session: Session, roots: Sequence[str], *, before_ms: int, behind: str, limit: int
) -> Pruned:
    """Delete so many promises of trees; the caller commits."""
    texts = _statements()
    before = [before_ms] * 3
    members: list[str] = []
    for root in roots:
        parameters = (root, behind, *before, limit - len(members))
        members += [key for (key,) in session.fetch(texts.members, parameters)]
        if len(members) >= limit:
            break
    if members:
        session.run(texts.delete, (json_text(members),))
    lone = session.fetch(texts.lone_roots, (json_text(list(roots)), *before))
    alone = [key for (key,) in lone]
    if alone:
        session.run(texts.delete, (json_text(alone),))
    return Pruned(
        roots=alone, promises=len(members) + len(alone), last=members[-1] if members else behind
    )
