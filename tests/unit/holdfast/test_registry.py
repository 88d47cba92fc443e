import functools
from collections.abc import Generator
from typing import Any

import pytest

from holdfast.errors import (
    AlreadyRegistered,
    FunctionNotRegistered,
    InvalidVersion,
    ResonateError,
)
from holdfast.registry import Function, Kind, Registry, kind_of


def plain(_ctx: object) -> None:
    pass


def generator(_ctx: object) -> Generator[Any, Any, None]:
    yield


async def coroutine(_ctx: object) -> None:
    pass


class Service:
    def method(self, _ctx: object) -> str:
        return "method"

    def __call__(self, _ctx: object) -> Generator[Any, Any, None]:
        yield


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.mark.parametrize(
    ("fn", "kind"),
    [
        (plain, Kind.PLAIN),
        (generator, Kind.GENERATOR),
        (coroutine, Kind.COROUTINE),
        (functools.partial(generator), Kind.GENERATOR),
        (functools.partial(functools.partial(coroutine)), Kind.COROUTINE),
        (Service().method, Kind.PLAIN),
        (Service(), Kind.GENERATOR),
        (lambda ctx: None, Kind.PLAIN),
    ],
    ids=[
        "plain",
        "generator",
        "coroutine",
        "partial",
        "nested partial",
        "method",
        "object",
        "lambda",
    ],
)
def test_the_kind_of_a_callable_is_seen_through_its_wrappers(fn: Any, kind: Kind) -> None:
    assert kind_of(fn) is kind


def test_lookup_without_a_version_means_the_highest(registry: Registry) -> None:
    registry.add(plain, name="f", version=2)
    registry.add(coroutine, name="f", version=10)

    assert registry.resolve("f").version == 10
    assert registry.resolve("f", version=2).fn is plain
    assert registry.find("f", 3) is None
    assert registry.headers() == {"f@2", "f@10"}


def test_the_identical_function_again_changes_nothing(registry: Registry) -> None:
    assert registry.add(plain) is registry.add(plain)
    assert len(registry) == 1


def test_another_function_under_the_same_name_and_version_is_refused(registry: Registry) -> None:
    registry.add(plain, name="f")

    with pytest.raises(AlreadyRegistered, match="f version 1"):
        registry.add(coroutine, name="f")


@pytest.mark.parametrize(
    "fn",
    [lambda ctx: None, functools.partial(plain), Service()],
    ids=["lambda", "partial", "object"],
)
def test_a_nameless_function_needs_a_name(registry: Registry, fn: Any) -> None:
    with pytest.raises(FunctionNotRegistered, match="no name"):
        registry.add(fn)

    assert registry.add(fn, name="named").name == "named"


@pytest.mark.parametrize("name", ["", "a@b"])
def test_a_name_that_cannot_be_advertised_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(FunctionNotRegistered):
        registry.add(plain, name=name)


@pytest.mark.parametrize("version", [0, -1, True])
def test_versions_begin_at_one(registry: Registry, version: int) -> None:
    with pytest.raises(InvalidVersion):
        registry.add(plain, version=version)


def test_a_kind_that_the_body_contradicts_is_refused(registry: Registry) -> None:
    with pytest.raises(TypeError, match="no `yield`"):
        registry.add(plain, kind="workflow")
    with pytest.raises(TypeError, match="its body yields"):
        registry.add(generator, kind="step")


def test_bound_methods_are_recognised_again(registry: Registry) -> None:
    service = Service()
    registry.add(service.method, name="service.method")

    assert registry.resolve_registered(service.method).name == "service.method"
    with pytest.raises(FunctionNotRegistered):
        registry.resolve_registered(Service().method)


def test_an_unregistered_callable_is_a_step_by_its_own_name(registry: Registry) -> None:
    assert registry.resolve(plain).name == "plain"
    assert registry.resolve(functools.partial(plain)).name == "plain"
    assert registry.resolve(lambda ctx: None).name == "<lambda>"
    assert registry.resolve(plain) is registry.resolve(plain)


def test_a_remote_name_need_not_be_registered_but_a_function_must(registry: Registry) -> None:
    elsewhere = registry.resolve_remote("db.save", version=3)

    assert elsewhere.header == "db.save@3"
    with pytest.raises(FunctionNotRegistered):
        registry.resolve_remote(plain)
    with pytest.raises(FunctionNotRegistered):
        registry.resolve("db.save")


def test_a_sealed_registry_takes_no_new_function(registry: Registry) -> None:
    registry.add(plain)
    registry.seal()

    registry.add(plain)
    with pytest.raises(ResonateError, match="before the client starts") as caught:
        registry.add(coroutine)

    assert caught.value.code == "registered_too_late"


def test_many_different_lambdas_do_not_pile_up(registry: Registry) -> None:
    for number in range(3000):
        registry.resolve(lambda ctx, number=number: number)

    assert len(registry._recent) <= 1024


def taking(_ctx: object, _first: int, _second: int = 0, *, _named: int) -> None:
    pass


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {"_named": 1}),
        ((1, 2, 3), {"_named": 1}),
        ((1,), {}),
        ((1,), {"_named": 1, "_unknown": 1}),
        ((1,), {"_named": 1, "_first": 1}),
    ],
)
def test_a_call_that_cannot_enter_the_body_is_refused(
    args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    assert Function(taking, name="taking").refuses(args, kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1,), {"_named": 1}),
        ((1, 2), {"_named": 1}),
        ((), {"_first": 1, "_named": 1}),
    ],
)
def test_a_call_that_enters_the_body_is_not_refused(
    args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    assert not Function(taking, name="taking").refuses(args, kwargs)


def test_a_wrapper_is_judged_by_its_own_signature() -> None:
    """It may give the function that it wraps more than its callers give it."""

    @functools.wraps(taking)
    def wrapper(ctx: object, first: int) -> None:
        taking(ctx, first, _named=1)

    function = Function(wrapper, name="wrapper")

    assert not function.refuses((1,), {})
    assert function.refuses((), {})


def test_what_has_no_signature_refuses_nothing() -> None:
    assert not Function(type, name="type").refuses((1, 2, 3, 4), {})
