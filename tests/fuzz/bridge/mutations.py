"""Inputs that are nearly right: what is in the corpus, changed by chance."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"

WORDS: tuple[bytes, ...] = (
    *(b"", b"null", b"true", b"-0", b"1e999", b"NaN", b"[]", b"{}", b'""', b'"\\u0000"'),
    *(b"9007199254740992", b"18446744073709551616", b"-1", b"0.5", b"[[[[[[[[", b'"\\ud83d"'),
    *(b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\\", b'"', b"\x00", b"\r\n\r\n"),
    *(b'{"resonate:target":"poll://any@g","resonate:timer":"true"}', b'"resonate:delay"'),
)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 2**53, 2**64, 10**40, "", "\0", "x" * 2_000, [], {}, [[]]),
    *({"a": 1}, {"data": 7}, {"headers": []}, ["\u2028"], "poll://uni@g/p", "not a url"),
)


def bodies() -> list[bytes]:
    """Read the bodies of the corpus."""
    return [path.read_bytes() for path in sorted(CORPUS.glob("*.json"))]


def paths() -> list[bytes]:
    """Read the paths of the corpus."""
    return (CORPUS / "paths.txt").read_bytes().splitlines()


def mutated(chance: random.Random, seeds: list[bytes]) -> Iterator[bytes]:
    """Yield the seeds as they are, and then changed ones for ever."""
    yield from seeds
    while True:
        seed = chance.choice(seeds)
        for _ in range(chance.randint(1, 3)):
            seed = chance.choice(_MUTATIONS)(chance, seed)
        yield seed[:100_000]


def _bytes(chance: random.Random, seed: bytes) -> bytes:
    """Put one byte in the place of another."""
    if not seed:
        return seed
    at = chance.randrange(len(seed))
    return seed[:at] + bytes([chance.randrange(256)]) + seed[at + 1 :]


def _cut(chance: random.Random, seed: bytes) -> bytes:
    first, last = sorted(chance.randrange(len(seed) + 1) for _ in range(2))
    return seed[:first] + seed[last:]


def _repeat(chance: random.Random, seed: bytes) -> bytes:
    first, last = sorted(chance.randrange(len(seed) + 1) for _ in range(2))
    return seed[:last] + seed[first:last] * chance.randint(1, 20) + seed[last:]


def _insert(chance: random.Random, seed: bytes) -> bytes:
    at = chance.randrange(len(seed) + 1)
    return seed[:at] + chance.choice(WORDS) + seed[at:]


def _restructure(chance: random.Random, seed: bytes) -> bytes:
    """Put another value somewhere into JSON that is well formed."""
    try:
        whole = json.loads(seed)
    except (ValueError, RecursionError):
        return _insert(chance, seed)
    places = list(_places(whole, 0))
    if not places:
        return seed
    container, key = chance.choice(places)
    container[key] = chance.choice(VALUES)
    return json.dumps(whole).encode()


def _places(value: Any, depth: int) -> Iterator[tuple[Any, Any]]:
    if depth > 20:
        return
    keys: list[Any] = list(value) if isinstance(value, dict) else []
    keys = list(range(len(value))) if isinstance(value, list) else keys
    for key in keys:
        yield value, key
        yield from _places(value[key], depth + 1)


_MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(_bytes, _cut, _repeat, _insert, _restructure, _restructure, _restructure),
)
