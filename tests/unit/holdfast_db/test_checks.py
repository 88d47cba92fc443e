import pytest
from sqlalchemy import make_url

from holdfast_db.database import _with_driver
from holdfast_db.functions import InvalidArgument, _check_key


@pytest.mark.parametrize("key", ["a", "café", "x" * 1024, "job/1"])
def test_a_key_is_a_text_of_some_length(key: str) -> None:
    _check_key(key, "id")


@pytest.mark.parametrize("key", ["", "a\0", "\ud800", "x" * 1025, 7, None, ["a"]])
def test_anything_else_is_no_key_and_the_refusal_names_the_argument(key: object) -> None:
    with pytest.raises(InvalidArgument, match="orderId"):
        _check_key(key, "orderId")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_url_without_a_driver_gets_ours(scheme: str) -> None:
    url = _with_driver(make_url(f"{scheme}://ada@db/app?sslmode=require"))

    assert url.render_as_string() == "postgresql+psycopg://ada@db/app?sslmode=require"


def test_a_url_with_a_driver_keeps_it() -> None:
    assert _with_driver(make_url("postgresql+pg8000://db/app")).drivername == "postgresql+pg8000"
