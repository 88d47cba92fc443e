"""Sequences in batches: what comes at one instant is sent at once, and makes one transaction.

The rules then see each other's changes before anything is stored, and what is stored is the sum of
several steps. The model takes them one after the other, which must come to the same.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from tests.differential.backends import Stored
from tests.differential.pictures import picture_of_model
from tests.differential.plays import (
    Disagreement,
    Step,
    difference_of_answers,
    difference_of_pictures,
)
from tests.model.model import Answer, Model

LOOKS_EVERY = 6
"""Batches after which everything that is stored is compared."""


def batches_of(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Put together what follows each other at one instant; ticks and searches are alone."""
    batch: list[Step] = []
    for step in steps:
        alone = step.kind == "debug.tick" or step.kind.endswith(".search")
        if batch and (alone or batch[0].now != step.now):
            yield batch
            batch = []
        batch.append(step)
        if alone:
            yield batch
            batch = []
    if batch:
        yield batch


async def replay_in_batches(
    make_model: Callable[[], Model], backend: Stored, steps: Sequence[Step]
) -> None:
    """Play given steps to a fresh model and an empty store; raise what differs."""
    model = make_model()
    await backend.reset()
    played: list[Step] = []
    batches = list(batches_of(steps))
    for number, batch in enumerate(batches, 1):
        expected = [model.handle(step.kind, step.data, step.now) for step in batch]
        played += batch
        got = await asyncio.gather(*(backend.handle(step) for step in batch))
        difference = _difference(batch, expected, got)
        if difference is None and (number % LOOKS_EVERY == 0 or number == len(batches)):
            difference = difference_of_pictures(
                picture_of_model(model, batch[0].now),
                await backend.picture(batch[0].now),
                drops_unblocks=backend.drops_unblocks,
            )
        if difference is not None:
            raise Disagreement(backend.name, played, f"in one batch of {len(batch)}: {difference}")


def _difference(
    batch: Sequence[Step], expected: Sequence[Answer], got: Sequence[Answer]
) -> str | None:
    """Compare the answers. A preload is read behind the whole batch: it may be younger."""
    for step, wanted, found in zip(batch, expected, got, strict=True):
        difference = difference_of_answers(wanted, found, keeps_own_branches=True)
        if difference is not None:
            return f"{step.kind}: {difference}"
    return None
