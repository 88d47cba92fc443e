"""Does some order explain what was answered? The search of Wing and Gong, with Lowe's memory.

Each request takes effect at one instant between its call and its return; between two of them the
store may do by itself what is due. Requests without an answer may take effect at any instant after
their call, or never. Trees are judged one by one: linearizability is local.

Where the recording does not say at which instant a request was judged, the search chooses. Only a
few choices differ: the earliest instant that is left, each deadline in the interval, and instants
that the answers themselves name. Anything between two of these answers the same, and whatever it
leaves behind (a lease that ends a little later) allows no more than the earliest one does.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.linearizability.recording import Event, by_origin
from tests.linearizability.tree import EMPTY, Answer, Internal, Tree, internal_steps, step

CONFIGURATIONS_MAX = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a search takes for granted."""

    slack_ms: int = 1
    """How far the clock that judged a request may be from the one that timed it."""
    patience_ms: int | None = 30_000
    """How long the store may leave undone what is due; `None` for ever."""
    configurations_max: int = CONFIGURATIONS_MAX


DEFAULTS = Settings()


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of an explanation: a request, the instant, and what happened before by itself."""

    index: int
    now: int
    internals: tuple[Internal, ...]
    before: Tree
    after: Tree


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a search of one tree."""

    origin: str
    linearizable: bool | None
    """`None`: given up, the search became too large."""
    moments: Sequence[Moment] = ()
    """An explanation; of a tree without one, the longest beginning of one."""
    stuck: Sequence[str] = ()
    """What answers would have been right where it got stuck, one line for each open request."""
    configurations: int = 0

    def __str__(self) -> str:
        if self.linearizable is None:
            return f"{self.origin}: undecided after {self.configurations} configurations"
        if self.linearizable:
            return f"{self.origin}: explained, {len(self.moments)} requests"
        return "\n  ".join([f"{self.origin}: nothing explains it; the best order ends with"]) + (
            "\n  " + "\n  ".join(self.stuck)
        )


def check(events: Iterable[Event], settings: Settings = DEFAULTS) -> list[Verdict]:
    """Judge a recording, tree by tree."""
    return [
        check_tree(origin, found, settings) for origin, found in sorted(by_origin(events).items())
    ]


def check_tree(origin: str, events: Sequence[Event], settings: Settings = DEFAULTS) -> Verdict:
    """Judge the requests of one tree."""
    return _Search(origin, events, settings).run()


@dataclass(slots=True)
class _Node:
    """A configuration of the depth-first search, with what is still to be tried from it."""

    taken: int
    tree: Tree
    now: int
    moment: Moment | None
    options: Iterator["_Node"] | None = None


@dataclass(slots=True)
class _Search:
    origin: str
    events: Sequence[Event]
    settings: Settings
    seen: set[tuple[int, Tree, int]] = field(default_factory=set)
    order: list[int] = field(default_factory=list)
    needed: int = 0
    """The requests, as bits, that must have happened."""
    told: list[int] = field(default_factory=list)

    def run(self) -> Verdict:
        """Search depth first; a configuration that was left once is never entered again."""
        events = self.events
        far = max((e.return_ns or e.call_ns for e in events), default=0) + 1
        # What returned first is tried first: that is the order in most recordings.
        self.order = sorted(range(len(events)), key=lambda i: (self._returned(i, far), i))
        self.needed = sum(1 << i for i, e in enumerate(events) if e.answer is not None)
        self.told = sorted({at for event in events for at in event.instants()})
        path = [_Node(0, EMPTY, 0, None)]
        best: list[_Node] = path[:]
        while path:
            node = path[-1]
            if node.taken & self.needed == self.needed:
                return self._verdict(path, linearizable=True)
            if len(self.seen) > self.settings.configurations_max:
                return self._verdict(best, linearizable=None)
            if node.options is None:
                node.options = self._options(node)
            following = next(node.options, None)
            if following is None:
                path.pop()
                continue
            key = (following.taken, following.tree, following.now)
            if key not in self.seen:
                self.seen.add(key)
                path.append(following)
                if len(path) > len(best):
                    best = path[:]
        return self._verdict(best, linearizable=False)

    def _returned(self, index: int, far: int) -> int:
        event = self.events[index]
        return far if event.answer is None or event.return_ns is None else event.return_ns

    def _verdict(self, path: Sequence[_Node], *, linearizable: bool | None) -> Verdict:
        return Verdict(
            origin=self.origin,
            linearizable=linearizable,
            moments=[node.moment for node in path if node.moment is not None],
            stuck=() if linearizable else list(self._stuck(path[-1])),
            configurations=len(self.seen),
        )

    # Steps

    def _candidates(self, node: _Node) -> list[int]:
        """Requests that may be next: none that was called behind the return of another one."""
        left = [i for i in self.order if not node.taken >> i & 1]
        returns = [
            e.return_ns
            for e in (self.events[i] for i in left)
            if e.answer is not None and e.return_ns is not None
        ]
        first = min(returns, default=None)
        return [i for i in left if first is None or self.events[i].call_ns <= first]

    def _options(self, node: _Node) -> Iterator[_Node]:
        for index in self._candidates(node):
            event = self.events[index]
            for now in self._instants(node, event):
                for nudged, internals in self._by_itself(node.tree, event, now):
                    after, answer = step(nudged, event.kind, event.req, now)
                    if event.answer is not None and answer != event.answer:
                        continue
                    if event.answer is None and after == node.tree:
                        continue  # it did nothing: leaving it out says the same
                    moment = Moment(index, now, internals, nudged, after)
                    yield _Node(node.taken | 1 << index, after, now, moment)

    def _instants(self, node: _Node, event: Event) -> list[int]:
        """Choose instants at which a request may have been judged, behind what came before."""
        if event.now is not None:
            return [event.now] if event.now >= node.now else []
        slack = self.settings.slack_ms
        earliest = max(node.now, event.call_ms - slack)
        is_open = event.return_ms is None or event.answer is None
        latest = None if is_open else (event.return_ms or 0) + slack
        told = self.told if is_open else event.instants()
        marks = {earliest, *told, *_deadlines(node.tree)}
        return sorted(m for m in marks if earliest <= m and (latest is None or m <= latest))

    def _by_itself(
        self, tree: Tree, event: Event, now: int
    ) -> Iterator[tuple[Tree, tuple[Internal, ...]]]:
        """Yield what the store may have made of a tree by itself before a request.

        Only what the request could notice: everything else can happen later as well.
        """
        ids = tuple(tree.tasks) if event.task_ids is None else event.task_ids
        states: dict[Tree, tuple[Internal, ...]] = {tree: ()}
        queue = [tree]
        while queue:
            current = queue.pop(0)
            possible = [each for i in ids for each in internal_steps(current, i, now)]
            if not any(self._is_overdue(each, now) for each in possible):
                yield current, states[current]
            for each in possible:
                if each.after not in states:
                    states[each.after] = (*states[current], each)
                    queue.append(each.after)

    def _is_overdue(self, internal: Internal, now: int) -> bool:
        patience_ms = self.settings.patience_ms
        return patience_ms is not None and now - internal.due_at > patience_ms

    # Words

    def _stuck(self, node: _Node) -> Iterator[str]:
        if node.moment is not None:
            yield f"{_words(self.events[node.moment.index])} at {node.moment.now}, and then"
        for index in self._candidates(node):
            event = self.events[index]
            right: list[Answer] = []
            for now in self._instants(node, event):
                for nudged, _ in self._by_itself(node.tree, event, now):
                    right.append(step(nudged, event.kind, event.req, now)[1])
            told = " or ".join(dict.fromkeys(map(str, right))) or "nothing at any instant left"
            yield f"{_words(event)} was answered {event.answer}; right was {told}"


def _deadlines(tree: Tree) -> Iterator[int]:
    for promise in tree.promises.values():
        if promise.state == "pending":
            yield promise.timeout_at
    for task in tree.tasks.values():
        if task.lease_at is not None:
            yield task.lease_at


def _words(event: Event) -> str:
    return f"{event.kind} {dict(event.req)} of {event.client or 'somebody'}"
