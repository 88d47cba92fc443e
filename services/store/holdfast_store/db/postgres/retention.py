"""Old trees of a PostgreSQL database; several stores may delete them at once.

Whatever is to be changed is locked first, and what somebody has locked is left to a later pass, so
that no batch and no other store is waited for. A batch may have to wait for one such transaction.
"""

from collections.abc import Sequence
from functools import cache

from holdfast_store.db import retention_statements
from holdfast_store.db.dialects import Postgres
from holdfast_store.db.postgres.session import PostgresSession
from holdfast_store.db.retention_statements import RetentionStatements
from holdfast_store.db.rows import origin_of
from holdfast_store.storage import Pruned, Root, TreePart

_FILE_EACH = """
UPDATE promises SET origin = new_origin
  FROM unnest($1::text[], $2::text[]) AS filed (new_origin, key) WHERE id = key
"""


@cache
def _statements() -> RetentionStatements:
    return retention_statements.build(Postgres(), locks=True)


async def file_origins(session: PostgresSession, *, limit: int) -> bool:
    """Note the trees of so many promises; answer whether none is left."""
    texts = _statements()
    unfiled = await session.fetch(texts.unfiled, limit)
    await session.run_each(_FILE_EACH, [(origin_of(key, tags), key) for key, tags in unfiled])
    return not await session.fetch(texts.any_unfiled)


async def roots(
    session: PostgresSession, *, before_ms: int, behind: tuple[int, str], limit: int
) -> list[Root]:
    """List roots that were created before an instant."""
    found = await session.fetch(_statements().roots, before_ms, *behind, limit)
    return [
        Root(id=key, created_at_ms=created, ended_at_ms=ended, is_over=bool(is_over))
        for key, created, ended, is_over in found
    ]


async def tree_part(
    session: PostgresSession, root: str, *, before_ms: int, behind: str, limit: int
) -> TreePart:
    """Look at so many promises of a tree."""
    found = await session.fetch(_statements().tree_part, before_ms, root, behind, limit)
    return TreePart(
        seen=len(found),
        is_over=all(is_over for _, is_over in found),
        last=found[-1][0] if found else behind,
    )


async def prune(
    session: PostgresSession, roots: Sequence[str], *, before_ms: int, behind: str, limit: int
) -> Pruned:
    """Delete so many promises of trees; the caller commits."""
    texts = _statements()
    members: list[str] = []
    for root in roots:
        found = await session.fetch(texts.members, root, behind, before_ms, limit - len(members))
        members += [row[0] for row in found]
        if len(members) >= limit:
            break
    if members:
        await session.fetch(texts.delete, members)
    alone = [row[0] for row in await session.fetch(texts.lone_roots, list(roots), before_ms)]
    if alone:
        await session.fetch(texts.delete, alone)
    return Pruned(
        roots=alone, promises=len(members) + len(alone), last=members[-1] if members else behind
    )
