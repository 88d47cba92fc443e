"""The claims of a token against the names in a request."""

from http import HTTPStatus

import pytest

from holdfast_chassis.authorization import EVERYTHING, grant_of, judge

EXP = 4_000_000_000


@pytest.mark.parametrize(
    ("claims", "names", "code"),
    [
        ({"prefix": "a/"}, ["a/1"], None),
        ({"prefix": "a/"}, ["a/"], None),
        ({"prefix": "a/"}, ["a"], "prefix_mismatch"),
        ({"prefix": "a/"}, ["b/1"], "prefix_mismatch"),
        ({"prefix": "a/"}, ["a/1", "a/2"], None),
        ({"prefix": "a/"}, ["a/1", "b/1"], "prefix_mismatch"),
        ({"prefix": "a/"}, ["A/1"], "prefix_mismatch"),
        ({"prefix": "a/"}, [], None),
        ({"prefix": "a/"}, [None], None),
        ({"prefix": "a/"}, [None, "b/1"], "prefix_mismatch"),
        ({"prefix": "a/"}, EVERYTHING, "prefix_not_empty"),
        ({"prefix": ""}, ["b/1"], None),
        ({"prefix": ""}, EVERYTHING, None),
        ({}, ["a/1"], "prefix_missing"),
        ({}, [], "prefix_missing"),
        ({"prefix": None}, ["a/1"], "prefix_missing"),
        ({"prefix": 7}, ["7"], "prefix_missing"),
        ({"prefix": ["a/"]}, ["a/1"], "prefix_missing"),
        ({"prefix": "\ud800"}, ["\ud800"], "prefix_missing"),
        ({"role": "admin"}, ["b/1"], None),
        ({"role": "ADMIN", "prefix": "a/"}, EVERYTHING, None),
        ({"role": "user", "prefix": "a/"}, ["b/1"], "prefix_mismatch"),
        ({"role": ["admin"], "prefix": "a/"}, ["b/1"], "prefix_mismatch"),
        ({"role": "administrator"}, ["a/1"], "prefix_missing"),
    ],
)
def test_a_token_covers_names_by_its_prefix_or_its_role(
    claims: dict[str, object], names: list[str | None], code: str | None
) -> None:
    denial = judge(grant_of({"exp": EXP} | claims), names)

    assert (denial and denial.code) == code
    assert denial is None or denial.status is HTTPStatus.FORBIDDEN


def test_a_denial_names_the_prefix_and_the_id_and_stays_short() -> None:
    denial = judge(grant_of({"exp": EXP, "prefix": "a/"}), ["b/" + "x" * 10_000])

    assert denial is not None
    assert "'a/'" in denial.message
    assert "'b/xxx" in denial.message
    assert len(denial.message) < 500


def test_the_subject_is_a_text_or_unknown() -> None:
    assert grant_of({"exp": EXP, "sub": "ada"}).subject == "ada"
    for odd in (None, 7, ["ada"], "\ud800"):
        assert grant_of({"exp": EXP, "sub": odd}).subject == ""
    assert grant_of({"exp": EXP}).subject == ""


def test_what_a_bearer_is_shown_is_bounded_by_the_prefix_unless_it_is_an_administrator() -> None:
    assert grant_of({"exp": EXP, "prefix": "a/"}).bound == "a/"
    assert grant_of({"exp": EXP, "prefix": "a/", "role": "Admin"}).bound == ""
    assert grant_of({"exp": EXP, "prefix": ""}).covers_everything
    assert not grant_of({"exp": EXP, "prefix": "a/"}).covers_everything
