"""Settings of a process: `HOLDFAST_<SERVICE>_*` in the environment, and flags that mirror them.

A service declares one frozen dataclass per command, each field with `setting(...)`; everything else
follows from it: parsing, validation, `--help`, `--version` and `--print-config`. Settings are read
once, at start. There are no settings files, and no setting changes while the process runs. What a
command works on, such as a file, is an `argument(...)`: it stands alone on the command line.
"""

import argparse
import dataclasses
import difflib
import json
import os
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from importlib import metadata
from typing import (
    Any,
    Generic,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from holdfast_chassis.listen import Address

INTEGER_MAX = 2**53 - 1  # the largest that every protocol carries unharmed

HIDDEN = "***"

S = TypeVar("S")
T = TypeVar("T")


class SettingsError(Exception):
    """A setting is unknown, missing or bad; the message is one sentence for the operator."""


# Declaring


def setting(
    default: Any = MISSING,  # noqa: ANN401 - the field's own annotation says the type
    *,
    doc: str,
    parse: Callable[[str], object] | None = None,
    secret: bool = False,
) -> Any:  # noqa: ANN401
    """Declare a field of a settings class; without a default it must be given.

    `parse` turns text into the value and raises ValueError saying what it "must be ..."; without
    it the annotation decides: str, int, float, bool, Address, Literal, tuple[str, ...], or one of
    them with None. A secret is never shown.
    """
    return dataclasses.field(
        default=default,
        repr=not secret,
        metadata={"doc": doc, "parse": parse, "secret": secret, "is_argument": False},
    )


def argument(*, doc: str, parse: Callable[[str], object] | None = None) -> Any:  # noqa: ANN401
    """Declare a field that the command line must name without a flag, and nothing else sets."""
    return dataclasses.field(
        metadata={"doc": doc, "parse": parse, "secret": False, "is_argument": True}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """What every long-running process lets its operator choose."""

    metrics_listen: Address = setting(
        Address("127.0.0.1", 9090), doc="Where /health, /ready and /metrics are served."
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", doc="The least level that is logged."
    )


# Parsing values


def text(value: str) -> str:
    """Accept any text but none at all."""
    if not value:
        msg = "must not be empty"
        raise ValueError(msg)
    return value


def boolean(value: str) -> bool:
    """Accept the usual words for yes and no."""
    match value.lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
    msg = "must be 1 or 0 (true, false, yes, no, on and off do as well)"
    raise ValueError(msg)


def integer(minimum: int = 0, maximum: int = INTEGER_MAX) -> Callable[[str], int]:
    """Accept whole numbers of a range, its ends included."""

    def parse(value: str) -> int:
        if re.fullmatch(r"[+-]?[0-9]{1,18}", value) and minimum <= int(value) <= maximum:
            return int(value)
        msg = f"must be a whole number from {minimum} to {maximum}"
        raise ValueError(msg)

    return parse


def number(minimum: float, maximum: float) -> Callable[[str], float]:
    """Accept numbers of a range, its ends included."""

    def parse(value: str) -> float:
        try:
            parsed = float(value)
        except ValueError:
            parsed = float("nan")
        if minimum <= parsed <= maximum:  # false for a NaN
            return parsed
        msg = f"must be a number from {minimum} to {maximum}"
        raise ValueError(msg)

    return parse


def one_of(*names: str) -> Callable[[str], str]:
    """Accept one of a few words."""

    def parse(value: str) -> str:
        if value in names:
            return value
        msg = f"must be one of {', '.join(names)}"
        raise ValueError(msg)

    return parse


def words(value: str) -> tuple[str, ...]:
    """Accept words with commas between them; none at all is an empty tuple."""
    return tuple(word.strip() for word in value.split(",") if word.strip())


# Loading


def load(
    settings: type[S],
    *,
    service: str,
    environ: Mapping[str, str],
    flags: Mapping[str, str] | None = None,
) -> S:
    """Build a settings object; flags (by field name) beat the environment, which beats defaults."""
    values: dict[str, object] = {}
    for option in _options(settings, service):
        if flags and option.name in flags:
            values[option.name] = option.read(flags[option.name], source=option.flag)
        elif option.variable in environ and not option.is_argument:
            values[option.name] = option.read(environ[option.variable], source=option.variable)
        elif option.default is MISSING:
            msg = f"{option.variable} (or {option.flag}) must be set: {option.doc}"
            raise SettingsError(msg)
    try:
        return settings(**values)
    except ValueError as error:  # what a service's __post_init__ says about two settings together
        raise SettingsError(_sentence(str(error))) from error


def refuse_unknown(
    settings: Iterable[type[object]], *, service: str, environ: Mapping[str, str]
) -> None:
    """Raise SettingsError for a variable of this service that none of its commands knows."""
    prefix = f"HOLDFAST_{service}_"
    known = {
        option.variable
        for each in settings
        for option in _options(each, service)
        if not option.is_argument
    }
    for variable in sorted(environ):
        if not variable.startswith(prefix) or variable in known:
            continue
        if _is_service_link(variable.removeprefix(prefix), environ[variable]):
            continue
        nearest = _nearest(variable, known)
        msg = f"{variable} is not a setting of this service; the nearest one is {nearest}."
        raise SettingsError(msg)


def redacted(settings: object) -> dict[str, object]:
    """Return a settings object as JSON values, without secrets and the passwords in URLs."""
    shown: dict[str, object] = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        shown[field.name] = HIDDEN if field.metadata.get("secret") and value else _plain(value)
    return shown


def redact_urls(value: str) -> str:
    """Hide the passwords of all URLs in a text."""
    value = re.sub(r"(\w[\w+.-]*://[^:/@\s]*):(?:(?!,\w[\w+.-]*://)\S)*@", rf"\1:{HIDDEN}@", value)
    return re.sub(r"(?i)([?&][^=&\s]*(?:password|secret|token)=)[^&\s]*", rf"\1{HIDDEN}", value)


# The command line


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Generic[S]):
    """A subcommand: its settings, what it does with them (to an exit code), one line of help."""

    settings: type[S]
    run: Callable[[S], int]
    help: str


def run_cli(
    *,
    program: str,
    service: str,
    commands: Mapping[str, Command[Any]],
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Run the command that the arguments name; return its exit code, 2 when a setting is bad."""
    argv = sys.argv[1:] if argv is None else list(argv)
    environ = os.environ if environ is None else environ
    if argv[:1] == ["--print-config"]:  # of the first command: the one that runs the service
        argv = [next(iter(commands)), *argv]
    try:
        command, flags, print_config = _parse(program, service, commands, argv)
        everything = [each.settings for each in commands.values()]
        refuse_unknown(everything, service=service, environ=environ)
        settings = load(command.settings, service=service, environ=environ, flags=flags)
    except SettingsError as error:
        print(f"{program}: {error}", file=sys.stderr)  # noqa: T201 - logging is not set up yet
        return 2
    if print_config:
        print(json.dumps(redacted(settings), indent=2))  # noqa: T201
        return 0
    return command.run(settings)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(_sentence(message))


def _parse(
    program: str, service: str, commands: Mapping[str, Command[Any]], argv: Sequence[str]
) -> tuple[Command[Any], dict[str, str], bool]:
    parser = _Parser(prog=program, allow_abbrev=False)
    version = f"{program} {metadata.version('holdfast')}"
    parser.add_argument("--version", action="version", version=version)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in commands.items():
        subparser = subparsers.add_parser(
            name, help=command.help, description=command.help, allow_abbrev=False
        )
        subparser.add_argument("--version", action="version", version=version)
        subparser.add_argument(
            "--print-config", action="store_true", help="print the settings, redacted, and exit"
        )
        for option in _options(command.settings, service):
            _add(option, subparser)
    known, unknown = parser.parse_known_args(argv)
    command = commands[known.command]
    options = _options(command.settings, service)
    if unknown:
        stray = unknown[0].partition("=")[0]  # what follows may be a secret
        nearest = _nearest(stray, {option.flag for option in options if not option.is_argument})
        msg = f"{stray!r} is not understood; the nearest flag is {nearest}."
        raise SettingsError(msg)
    given = vars(known)
    flags = {o.name: given[key] for o in options if (key := f"setting.{o.name}") in given}
    return command, flags, known.print_config


def _add(option: "_Option", parser: argparse.ArgumentParser) -> None:
    destination, shown = f"setting.{option.name}", option.help.replace("%", "%%")
    if option.is_argument:
        parser.add_argument(destination, metavar=option.flag, help=shown)
        return
    # A flag that is not given must leave no trace: the environment comes next.
    parser.add_argument(
        option.flag,
        dest=destination,
        metavar="VALUE",
        default=argparse.SUPPRESS,
        help=shown,
        nargs="?" if option.is_boolean else None,
        const="1" if option.is_boolean else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    """One setting of one service, as the environment and the command line know it."""

    name: str
    variable: str
    doc: str
    default: object
    parse: Callable[[str], object]
    secret: bool
    is_boolean: bool
    is_argument: bool

    @property
    def flag(self) -> str:
        return self.name.upper() if self.is_argument else "--" + self.name.replace("_", "-")

    @property
    def help(self) -> str:
        if self.is_argument:
            return self.doc
        if self.default is MISSING:
            return f"{self.doc} [{self.variable}; required]"
        default = "unset" if self.default is None else _plain(self.default)
        if isinstance(default, list):
            default = ",".join(map(str, default))
        if isinstance(default, bool):
            default = int(default)
        return f"{self.doc} [{self.variable}; default: {default or repr(default)}]"

    def read(self, value: str, *, source: str) -> object:
        """Parse a value; name its source when it is bad."""
        try:
            return self.parse(value)
        except ValueError as error:
            shown = HIDDEN if self.secret else redact_urls(value)
            msg = _sentence(f"{source} is {shown!r}, but {error}")
            raise SettingsError(msg) from error


def _options(settings: type[object], service: str) -> list[_Option]:
    hints = get_type_hints(settings)
    return [
        _Option(
            name=field.name,
            variable=f"HOLDFAST_{service}_{field.name.upper()}",
            doc=field.metadata["doc"],
            default=field.default,
            parse=field.metadata["parse"] or _parser_of(hints[field.name]),
            secret=field.metadata["secret"],
            is_boolean=hints[field.name] is bool,
            is_argument=field.metadata["is_argument"],
        )
        for field in dataclasses.fields(settings)  # type: ignore[arg-type]
    ]


def _parser_of(annotation: Any) -> Callable[[str], object]:  # noqa: ANN401 - any annotation
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not types.NoneType]
        assert len(kinds) == 1, "a setting is of one type, or of one type and None"
        return _parser_of(kinds[0])
    if get_origin(annotation) is Literal:
        return one_of(*get_args(annotation))
    parsers: dict[object, Callable[[str], object]] = {
        str: text,
        int: integer(),
        float: number(0, INTEGER_MAX),
        bool: boolean,
        Address: Address.parse,
        tuple[str, ...]: words,
    }
    return parsers[annotation]


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case tuple():
            return [_plain(each) for each in value]
        case _:
            return redact_urls(str(value))


def _is_service_link(rest: str, value: str) -> bool:
    """Tell a variable that Kubernetes adds to each pod for a Service from one that somebody set.

    A Service called `holdfast-store` gives every pod `HOLDFAST_STORE_PORT=tcp://10.0.0.1:50051`
    and its like, unless the pod turns service links off.
    """
    pattern = r"(.+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
    if re.fullmatch(pattern, rest):
        return True
    is_port = rest == "PORT" or rest.endswith("_PORT")
    return is_port and value.startswith(("tcp://", "udp://", "sctp://"))


def _nearest(word: str, known: Iterable[str]) -> str:
    return max(sorted(known), key=lambda each: difflib.SequenceMatcher(None, word, each).ratio())


def _sentence(text_: str) -> str:
    return text_ if text_.endswith(".") else f"{text_}."
