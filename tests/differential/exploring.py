"""Play random sequences to the model and to stores, until nothing new appears; shrink a failure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from tests.differential.coverage import Combination, Coverage, situation, told, waiting
from tests.differential.dice import KINDS, Dice
from tests.differential.pictures import picture_of_model
from tests.differential.plays import (
    Backend,
    Disagreement,
    Step,
    difference_of_answers,
    difference_of_pictures,
)
from tests.model.model import Model

STEPS = 120
"""Steps of a sequence: a few lives of a few tasks."""


@dataclass(frozen=True)
class Find:
    """A sequence up to the last step that showed something new, and all that it shows."""

    steps: tuple[Step, ...]
    shown: frozenset[Combination]


@dataclass
class Exploration:
    """How long to play, and what was found."""

    make_model: Callable[[], Model]
    backends: Sequence[Backend]
    kinds: Sequence[str] = KINDS
    seconds: float = 1_000_000
    sequences_max: int = 1_000_000
    patience: int = 400
    """Sequences without anything new after which it is enough."""
    is_wild: bool = False
    """Whether requests may have members of any type, which only JSON can carry."""
    looks_every: int = 1
    """Steps after which everything that is stored is compared."""
    coverage: Coverage = field(default_factory=Coverage)
    finds: list[Find] = field(default_factory=list)
    """Sequences that showed something new."""
    sequences: int = 0
    steps: int = 0
    stopped_by: str = ""
    seed: int = 0

    async def run(self, seed: int) -> None:
        """Play; raise the shortest `Disagreement` that could be found."""
        self.seed = seed
        started, quiet = monotonic(), 0
        while self.sequences < self.sequences_max:
            if monotonic() - started > self.seconds:
                self.stopped_by = "the time was over"
                return
            try:
                new = await self.play(seed + self.sequences)
            except Disagreement as found:
                raise await self.shrunk(found) from None
            self.sequences += 1
            quiet = 0 if new else quiet + 1
            if quiet >= self.patience:
                self.stopped_by = f"nothing new in {quiet} sequences"
                return
        self.stopped_by = f"{self.sequences} sequences were played"

    async def play(self, seed: int) -> int:
        """Play one sequence; answer how many combinations were new."""
        model = self.make_model()
        dice = Dice(seed, model, self.kinds, is_wild=self.is_wild)
        for backend in self.backends:
            await backend.reset()
        played: list[Step] = []
        known = set(self.coverage.seen)
        shown: set[Combination] = set()
        find: Find | None = None
        for number in range(STEPS):
            step = dice.step()
            state, awaiters = self._situation(model, step)
            expected = model.handle(step.kind, step.data, step.now)
            played.append(step)
            looks = number % self.looks_every == 0 or number == STEPS - 1
            for backend in self.backends:
                await self._compare(backend, model, played, expected, looks=looks)
            met = self.coverage.note(step, state, expected, told(model, awaiters))
            if met - known - shown:
                find = Find(tuple(played), frozenset(shown | met))
            shown |= met
            self.steps += 1
        if find is not None:
            self.finds.append(find)
        return len(shown - known)

    def cover(self) -> list[tuple[Step, ...]]:
        """Choose sequences that together show whatever was shown, in few steps."""
        chosen: list[tuple[Step, ...]] = []
        left = set(self.coverage.seen)
        finds = list(self.finds)
        while left:
            best = max(finds, key=lambda find: len(find.shown & left) / (len(find.steps) + 20))
            finds.remove(best)
            chosen.append(best.steps)
            left -= best.shown
        return chosen

    def _situation(self, model: Model, step: Step) -> tuple[str, list[tuple[str, str]]]:
        if not self.is_wild:
            return situation(model, step), waiting(model, step)
        try:
            return situation(model, step), waiting(model, step)
        except (AttributeError, KeyError, TypeError):
            return "malformed", []  # of a wrong type, which only JSON can carry

    async def _compare(
        self,
        backend: Backend,
        model: Model,
        played: Sequence[Step],
        expected: tuple[int, object],
        *,
        looks: bool,
    ) -> None:
        step = played[-1]
        try:
            got = await backend.handle(step)
            picture = await backend.picture(step.now) if looks else None
        except Exception as error:  # a store that breaks is told as one that errs is
            raise Disagreement(backend.name, played, f"it raised {error!r}") from error
        difference = difference_of_answers(
            expected, got, keeps_own_branches=backend.keeps_own_branches
        )
        if difference is None and picture is not None:
            difference = difference_of_pictures(
                picture_of_model(model, step.now), picture, drops_unblocks=backend.drops_unblocks
            )
        if difference is not None:
            raise Disagreement(backend.name, played, difference)

    async def replay(self, backend: Backend, steps: Sequence[Step]) -> Disagreement | None:
        """Play given steps to a fresh model and an empty store."""
        model = self.make_model()
        await backend.reset()
        played: list[Step] = []
        try:
            for step in steps:
                state, awaiters = self._situation(model, step)
                expected = model.handle(step.kind, step.data, step.now)
                played.append(step)
                looks = len(played) % self.looks_every == 0 or len(played) == len(steps)
                await self._compare(backend, model, played, expected, looks=looks)
                self.coverage.note(step, state, expected, told(model, awaiters))
                self.steps += 1
        except Disagreement as found:
            return found
        return None

    async def shrunk(self, found: Disagreement) -> Disagreement:
        """Leave out whatever is not needed, larger pieces first."""
        backend = next(each for each in self.backends if each.name == found.backend)
        self.looks_every = 1
        shortest = await self.replay(backend, found.steps) or found
        size = len(shortest.steps) // 2
        while size:
            shorter = await self._without_pieces(backend, shortest, size)
            # What goes may let others go: the single steps are tried until all are needed.
            if size > 1 or len(shorter.steps) == len(shortest.steps):
                size //= 2
            shortest = shorter
        return shortest

    async def _without_pieces(
        self, backend: Backend, shortest: Disagreement, size: int
    ) -> Disagreement:
        start = 0
        while start < len(shortest.steps):
            steps = (*shortest.steps[:start], *shortest.steps[start + size :])
            shorter = await self.replay(backend, steps)
            if shorter is None:
                start += size
            else:
                shortest = shorter
        return shortest

    def report(self) -> str:
        """Tell what was played and met."""
        names = ", ".join(backend.name for backend in self.backends)
        return (
            f"{self.coverage.table()}\n"
            f"seed {self.seed}: {self.sequences} sequences, {self.steps} steps, "
            f"{len(self.coverage.seen)} combinations; {names}; stopped: {self.stopped_by}"
        )
