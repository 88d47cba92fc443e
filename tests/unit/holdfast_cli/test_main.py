"""What the command line understands, and what it says to the rest."""

from pathlib import Path

import pytest

from holdfast_cli.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["dmeo"], "'dmeo' is not a command; did you mean demo?"),
        (["demo", "frist-order"], "'frist-order' is not a command; did you mean first-order?"),
        (["dev", "--prot-base", "9000"], "'--prot-base' is not understood; the nearest flag is"),
        (["dev", "--stores", "none"], "--stores: must be a whole number from 1 to 32"),
        (["dev", "--port-base", "-1"], "--port-base: must be a whole number from 0 to 65535"),
        (["dev", "--stores", "2"], "so --stores 2 needs PostgreSQL"),
    ],
)
def test_what_makes_no_sense_is_answered_with_one_sentence_and_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(arguments)

    output, errors = capsys.readouterr()
    assert (code, output) == (2, "")
    assert len(errors.splitlines()) == 1
    assert sentence in errors


@pytest.mark.parametrize("arguments", [["--help"], ["dev", "--help"], ["demo", "--help"]])
def test_help_is_not_an_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)

    assert end.value.code == 0
    assert "usage: holdfast" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["demo"]])
def test_a_command_that_needs_another_word_lists_the_words(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(arguments)

    assert code == 0
    assert "commands:" in capsys.readouterr().out


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])

    assert capsys.readouterr().out.startswith("holdfast 0.")


def test_queues_without_a_running_system_say_how_to_name_a_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["queues", "--data", str(tmp_path)])

    assert code == 1
    assert "name a store with --store grpc://HOST:PORT" in capsys.readouterr().err


def test_an_address_that_is_none_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["queues", "--store", "http://127.0.0.1:8001"])

    assert code == 2
    assert "--store is 'http://127.0.0.1:8001': " in capsys.readouterr().err
