import json
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from holdfast_chassis.listen import Address
from holdfast_chassis.settings import (
    Command,
    ProcessSettings,
    argument,
    integer,
    run_cli,
    setting,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve(ProcessSettings):
    database_url: str = setting("sqlite:///x.db", doc="Where 100% of the state lives.")
    batch_max: int = setting(256, doc="Operations in one batch.", parse=integer(1, 4_096))
    groups: tuple[str, ...] = setting(("workers",), doc="Groups to join.")
    debug: bool = setting(default=False, doc="Whether debug operations are allowed.")
    token: str | None = setting(None, doc="A bearer token.", secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    database_url: str = setting("sqlite:///x.db", doc="Where the state lives.")
    file: str = setting(doc="The file to write.")

    def __post_init__(self) -> None:
        if self.file == self.database_url:
            msg = "the file to write must not be the database"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    database_url: str = setting("sqlite:///x.db", doc="Where the state lives.")
    source: str = argument(doc="The file to read: 100% of it; - for stdin.")


class Program:
    """Runs a command line with a given environment; remembers the settings that arrived."""

    def __init__(self) -> None:
        self.ran: list[object] = []

    def __call__(self, *argv: str, **environ: str) -> int:
        def run(settings: object) -> int:
            self.ran.append(settings)
            return 7

        commands: Mapping[str, Command[object]] = {
            "serve": Command(settings=Serve, run=run, help="Serve."),
            "export": Command(settings=Export, run=run, help="Write everything to a file."),
            "import": Command(settings=Import, run=run, help="Read everything from a file."),
        }
        return run_cli(
            program="holdfast-store", service="STORE", commands=commands, argv=argv, environ=environ
        )


@pytest.fixture
def program() -> Program:
    return Program()


def test_defaults_apply_when_nothing_is_said(program: Program) -> None:
    code = program("serve")

    assert code == 7
    assert program.ran == [Serve()]


def test_flags_beat_the_environment_which_beats_the_defaults(program: Program) -> None:
    program(
        "serve",
        "--batch-max=8",
        "--debug",
        HOLDFAST_STORE_BATCH_MAX="9",
        HOLDFAST_STORE_GROUPS="a, b",
        HOLDFAST_STORE_METRICS_LISTEN="[::1]:0",
    )

    expected = Serve(
        batch_max=8, debug=True, groups=("a", "b"), metrics_listen=Address(host="::1", port=0)
    )
    assert program.ran == [expected]


def test_a_boolean_flag_can_say_no(program: Program) -> None:
    program("serve", "--debug", "off", HOLDFAST_STORE_DEBUG="1")

    assert program.ran == [Serve(debug=False)]


@pytest.mark.parametrize(
    ("argv", "environ", "sentence"),
    [
        pytest.param(
            ["serve"],
            {"HOLDFAST_STORE_DATABSE_URL": "x"},
            "HOLDFAST_STORE_DATABSE_URL is not a setting of this service;"
            " the nearest one is HOLDFAST_STORE_DATABASE_URL.",
            id="unknown-variable",
        ),
        pytest.param(
            ["serve", "--databse-url=x"],
            {},
            "'--databse-url' is not understood; the nearest flag is --database-url.",
            id="unknown-flag",
        ),
        pytest.param(
            ["serve"],
            {"HOLDFAST_STORE_BATCH_MAX": "0"},
            "HOLDFAST_STORE_BATCH_MAX is '0', but must be a whole number from 1 to 4096.",
            id="out-of-range",
        ),
        pytest.param(
            ["serve", "--batch-max", "1_0"],
            {},
            "--batch-max is '1_0', but must be a whole number from 1 to 4096.",
            id="not-a-number",
        ),
        pytest.param(
            ["serve"],
            {"HOLDFAST_STORE_DEBUG": "maybe"},
            "HOLDFAST_STORE_DEBUG is 'maybe',"
            " but must be 1 or 0 (true, false, yes, no, on and off do as well).",
            id="not-a-boolean",
        ),
        pytest.param(
            ["serve"],
            {"HOLDFAST_STORE_LOG_LEVEL": "loud"},
            "HOLDFAST_STORE_LOG_LEVEL is 'loud', but must be one of debug, info, warning, error.",
            id="not-a-choice",
        ),
        pytest.param(
            ["serve"],
            {"HOLDFAST_STORE_TOKEN": ""},
            "HOLDFAST_STORE_TOKEN is '***', but must not be empty.",
            id="secret-not-shown",
        ),
        pytest.param(
            ["export"],
            {},
            "HOLDFAST_STORE_FILE (or --file) must be set: The file to write.",
            id="required",
        ),
        pytest.param(
            ["export", "--file", "sqlite:///x.db"],
            {},
            "the file to write must not be the database.",
            id="two-settings-that-disagree",
        ),
        pytest.param(
            ["srve"],
            {},
            "argument COMMAND: invalid choice: 'srve'",
            id="unknown-command",
        ),
    ],
)
def test_bad_settings_exit_2_with_one_sentence(
    program: Program,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    environ: dict[str, str],
    sentence: str,
) -> None:
    code = program(*argv, **environ)

    printed = capsys.readouterr().err
    assert code == 2
    assert printed.startswith(f"holdfast-store: {sentence}")
    assert printed.count("\n") == 1
    assert not program.ran


def test_settings_of_other_commands_and_services_do_not_disturb(program: Program) -> None:
    code = program(
        "serve",
        HOLDFAST_STORE_FILE="export's",
        HOLDFAST_GATEWAY_NONSENSE="the gateway's",
        HOLDFAST_STOREROOM="nobody's",
    )

    assert code == 7


def test_variables_that_kubernetes_adds_for_services_do_not_disturb(program: Program) -> None:
    code = program(
        "serve",
        HOLDFAST_STORE_SERVICE_HOST="10.0.0.1",
        HOLDFAST_STORE_SERVICE_PORT_GRPC="50051",
        HOLDFAST_STORE_PORT="tcp://10.0.0.1:50051",
        HOLDFAST_STORE_PORT_50051_TCP="tcp://10.0.0.1:50051",
        HOLDFAST_STORE_PORT_50051_TCP_ADDR="10.0.0.1",
        HOLDFAST_STORE_METRICS_PORT="tcp://10.0.0.2:9090",
    )

    assert code == 7


def test_a_port_that_somebody_set_is_still_refused(program: Program) -> None:
    assert program("serve", HOLDFAST_STORE_PORT="50051") == 2


@pytest.mark.parametrize("command", [(), ("serve",)])
def test_print_config_hides_secrets_and_passwords(
    program: Program, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    code = program(
        *command,
        "--print-config",
        HOLDFAST_STORE_TOKEN="t0ken",
        HOLDFAST_STORE_DATABASE_URL="postgresql://me:p@ss/w:rd@db/app?sslpassword=hush&x=1",
        HOLDFAST_STORE_GROUPS="grpc://a:hush@h1:1,grpc://h2:2",
    )

    assert code == 0
    assert json.loads(capsys.readouterr().out) == {
        "metrics_listen": "127.0.0.1:9090",
        "log_level": "info",
        "database_url": "postgresql://me:***@db/app?sslpassword=***&x=1",
        "batch_max": 256,
        "groups": ["grpc://a:***@h1:1", "grpc://h2:2"],
        "debug": False,
        "token": "***",
    }
    assert not program.ran


def test_a_secret_does_not_appear_in_the_repr_of_its_settings() -> None:
    assert "t0ken" not in repr(Serve(token="t0ken"))


def test_help_lists_each_setting_with_variable_default_and_doc(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        program("serve", "--help")

    printed = " ".join(capsys.readouterr().out.split())
    assert exit_.value.code == 0
    assert (
        "--database-url VALUE Where 100% of the state lives."
        " [HOLDFAST_STORE_DATABASE_URL; default: sqlite:///x.db]"
    ) in printed
    assert "[HOLDFAST_STORE_DEBUG; default: 0]" in printed
    assert "[HOLDFAST_STORE_GROUPS; default: workers]" in printed
    assert "[HOLDFAST_STORE_TOKEN; default: unset]" in printed


@pytest.mark.parametrize("name", ["-", "a.jsonl", "/a b"])
def test_an_argument_stands_alone(program: Program, name: str) -> None:
    code = program("import", "--database-url", "sqlite:///y.db", name)

    assert code == 7
    assert program.ran == [Import(database_url="sqlite:///y.db", source=name)]


def test_an_argument_that_is_missing_is_asked_for_by_its_name(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    code = program("import")

    assert code == 2
    assert capsys.readouterr().err == (
        "holdfast-store: the following arguments are required: SOURCE.\n"
    )
    assert program.ran == []


def test_an_argument_cannot_come_from_the_environment(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    code = program("import", "-", HOLDFAST_STORE_SOURCE="a.jsonl")

    assert code == 2
    assert "HOLDFAST_STORE_SOURCE is not a setting of this service" in capsys.readouterr().err


def test_help_shows_an_argument_by_its_name(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program("import", "--help")

    text = " ".join(capsys.readouterr().out.split())
    assert "[--database-url VALUE] SOURCE" in text
    assert "SOURCE The file to read: 100% of it; - for stdin." in text


@pytest.mark.parametrize("command", [(), ("serve",)])
def test_version_names_the_program(
    program: Program, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit):
        program(*command, "--version")

    assert capsys.readouterr().out.startswith("holdfast-store ")
