"""Play random sequences to the model and to stores, until nothing new appears; shrink a failure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from tests.differential.coverage import Before, Combination, Coverage
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
START = 60
"""As how many steps it counts to begin a sequence."""


@dataclass(frozen=True)
class Find:
    """A sequence up to the last step that showed something new, and in which step it shows what."""

    steps: tuple[Step, ...]
    shown: Mapping[Combination, int]

    def cut(self, wanted: Mapping[Combination, float]) -> tuple[float, int]:
        """Find the beginning that shows most of what is wanted for its steps, and its length."""
        best, worth = (0.0, 0), 0.0
        for place, each in sorted((place, each) for each, place in self.shown.items()):
            worth += wanted.get(each, 0)
            best = max(best, (worth / (place + START), place))
        return best


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
        shown: dict[Combination, int] = {}
        find: Find | None = None
        for number in range(STEPS):
            step = dice.step()
            before = self._before(model, step)
            expected = model.handle(step.kind, step.data, step.now)
            played.append(step)
            looks = number % self.looks_every == 0 or number == STEPS - 1
            for backend in self.backends:
                await self._compare(backend, model, played, expected, looks=looks)
            met = self.coverage.note(step, before.state, expected, before.followed_by(model))
            is_news = bool(met - known - shown.keys())
            shown = dict.fromkeys(met, number + 1) | shown
            if is_news:
                find = Find(tuple(played), shown)
            self.steps += 1
        if find is not None:
            self.finds.append(find)
        return len(shown.keys() - known)

    def cover(self) -> list[tuple[Step, ...]]:
        """Choose sequences that together show whatever was shown, in few steps."""
        # What few sequences show comes first: most of the rest comes along with it.
        shows = Counter(each for find in self.finds for each in find.shown)
        wanted = {each: 1 / shows[each] ** 2 for each in self.coverage.seen}
        chosen: list[tuple[Step, ...]] = []
        while wanted:
            (_, length), best = max(
                ((find.cut(wanted), find) for find in self.finds), key=lambda each: each[0]
            )
            chosen.append(best.steps[:length])
            shown = {each for each, place in best.shown.items() if place <= length}
            wanted = {each: worth for each, worth in wanted.items() if each not in shown}
        return chosen

    def _before(self, model: Model, step: Step) -> Before:
        if not self.is_wild:
            return Before.of(model, step)
        try:
            return Before.of(model, step)
        except (AttributeError, KeyError, TypeError):
            return Before("malformed")  # of a wrong type, which only JSON can carry

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
                before = self._before(model, step)
                expected = model.handle(step.kind, step.data, step.now)
                played.append(step)
                looks = len(played) % self.looks_every == 0 or len(played) == len(steps)
                await self._compare(backend, model, played, expected, looks=looks)
                self.coverage.note(step, before.state, expected, before.followed_by(model))
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
