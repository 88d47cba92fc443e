"""The `holdfast` command: what can be typed, and what the answer to a wrong word is."""

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

from holdfast.core.limits import SEARCH_LIMIT_MAX
from holdfast_cli import dev, queues, records
from holdfast_cli.demo import first_order, orders
from holdfast_cli.errors import CommandFailed, UsageError
from holdfast_cli.output import UNREAD, write_to_nowhere
from holdfast_cli.plan import PORT_MAX, PROCESSES_MAX, Options

PROGRAM = "holdfast"
APPS_PORT = 3000  # as in the original examples


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments say; return the exit code."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:  # somebody has read enough of it, as `| head` does
        write_to_nowhere(sys.stdout)
        return UNREAD
    except UsageError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except CommandFailed as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1


def _run(arguments: Sequence[str]) -> int:
    try:
        parsed = _parse(arguments)
        run: Callable[[argparse.Namespace], int | None] = parsed.run
        return run(parsed) or 0
    finally:
        # Now, where a reader that left can be dealt with, and not when the interpreter ends.
        sys.stdout.flush()


# Every command by name, with the commands that it has of its own.
COMMANDS: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "apps": {},
    "dev": {},
    "demo": {"first-order": {}, "orders": {}},
    "queues": {},
    "members": {},
    "promises": {name: {} for name in ("search", *records.PROMISES)},
    "tasks": {name: {} for name in ("search", *records.TASKS)},
    "schedules": {name: {} for name in ("search", *records.SCHEDULES)},
}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    _refuse_unknown_command(arguments)
    parsed, unknown = _parser().parse_known_args(arguments)
    if unknown:
        stray = unknown[0].partition("=")[0]
        meant = nearest(stray, parsed.parser.flags())
        raise UsageError(f"{stray!r} is not understood; the nearest flag is {meant}.")
    return parsed


def _refuse_unknown_command(arguments: Sequence[str]) -> None:
    commands: Mapping[str, Any] = COMMANDS
    for word in arguments:
        if word.startswith("-") or not commands:
            return
        if word not in commands:
            meant = nearest(word, commands)
            raise UsageError(f"{word!r} is not a command; did you mean {meant}?")
        commands = commands[word]


def _parser() -> "_Parser":
    parser = _Parser(
        prog=PROGRAM,
        description="Runs, plays and inspects Holdfast on one machine.",
        allow_abbrev=False,
    )
    version = f"{PROGRAM} {metadata.version('holdfast')}"
    parser.add_argument("--version", action="version", version=version)
    commands = _commands_of(parser)
    _add_dev(_add(commands, "dev", "run everything on this machine, until Ctrl-C"))
    _add_apps(_add(commands, "apps", "run the example applications as one program, until Ctrl-C"))
    demo = _add(commands, "demo", "play a short story that ends by itself")
    _add_demos(_commands_of(demo))
    _add_queues(_add(commands, "queues", "show how much work waits for which worker group"))
    _add_members(_add(commands, "members", "show which processes are connected to which store"))
    for name, text, acts in (
        ("promises", "find, show and settle promises", records.PROMISES),
        ("tasks", "find, show, halt and continue tasks", records.TASKS),
        ("schedules", "find, show, pause, resume and delete schedules", records.SCHEDULES),
    ):
        of_records = _commands_of(_add(commands, name, text))
        _add_search(_add(of_records, "search", f"list {name} in the order of their ids"), name)
        _add_records(of_records, acts, name.removesuffix("s"))
    return parser


def _add_demos(demos: "_Commands") -> None:
    demo = _add(demos, "first-order", "an order passes every service while its worker is killed")
    demo.set_defaults(run=lambda _: first_order.command())
    demo = _add(demos, "orders", "the same order twice, each of its steps once")
    demo.add_argument(
        "--crash", action="store_true", help="let the warehouse fail once, and see the retry"
    )
    demo.add_argument(
        "--gateway", metavar="URL", help="play against this gateway instead of starting one"
    )
    demo.set_defaults(run=lambda parsed: orders.command(crash=parsed.crash, gateway=parsed.gateway))


def _add_apps(parser: "_Parser") -> None:
    parser.add_argument(
        "--port",
        type=_integer(0, PORT_MAX),
        default=_port_of_the_environment(),
        metavar="N",
        help="where to listen; 0 takes a free port (default: %(default)s, or PORT)",
    )
    parser.add_argument(
        "--shop",
        choices=("durable", "bus"),
        default="durable",
        help="what the shop's window is: a durable promise, or a step that listens to a bus in the"
        " process, as in the original (default: %(default)s)",
    )
    parser.epilog = (
        "The store is that of RESONATE_URL; without it, it is in the process: in the file that"
        " RESONATE_EMBEDDED names, or in memory. The settings of gateway, worker and db worker"
        " count, such as HOLDFAST_DB_DATABASE_URL."
    )
    parser.set_defaults(run=lambda parsed: _run_apps(port=parsed.port, shop=parsed.shop))


def _run_apps(*, port: int, shop: Literal["durable", "bus"]) -> int:
    # Here, because it loads the web framework, and other commands answer at once.
    from holdfast_cli import apps  # noqa: PLC0415

    return apps.command(port=port, shop_variant=shop)


def _port_of_the_environment() -> int:
    text = os.environ.get("PORT", "")
    return int(text) if text.isascii() and text.isdigit() else APPS_PORT


def _add_dev(parser: "_Parser") -> None:
    default = Options()
    _add_data(parser, "where the databases live")
    parser.add_argument(
        "--database-url",
        metavar="URL",
        help="the store's database (default: an SQLite file in the data directory)",
    )
    for flag, what, least in (
        ("stores", "promise stores", 1),
        ("gateways", "gateways", 0),
        ("workers", "workflow workers", 0),
        ("db-workers", "db workers", 0),
    ):
        parser.add_argument(
            f"--{flag}",
            type=_integer(least, PROCESSES_MAX),
            default=1,
            metavar="N",
            help=f"how many {what} to run (default: %(default)s)",
        )
    parser.add_argument(
        "--port-base",
        type=_integer(0, PORT_MAX),
        default=default.port_base,
        metavar="N",
        help="gateway on N, bridge on N+1, store on N+2 and so on; 0 takes free ports"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--debug",
        action="store_true",
        help="for tests of the protocol: nothing is due by the clock",
    )
    parser.epilog = (
        "Once everything is ready one line says so: the word `ready`, a space and a JSON object"
        " with the addresses and process ids. It is the only line that begins with that word; those"
        f" of the processes begin with their names. The object is also in {dev.STATE_FILE} in the"
        " data directory while everything runs."
    )
    parser.set_defaults(run=lambda parsed: dev.command(_options(parsed)))


def _add_records(commands: "_Commands", acts: records.Acts, noun: str) -> None:
    for name, (act, text, given) in acts.items():
        parser = _add(commands, name, text)
        parser.add_argument("id", metavar="ID", help=f"id of the {noun}")
        if given == "value":
            parser.add_argument(
                "--value", type=_json, metavar="JSON", dest="given", help="what comes with it"
            )
        elif given is not None:
            parser.add_argument(
                f"--{given}", metavar="TEXT", dest="given", help="a word for whoever looks later"
            )
        _add_store(parser)
        parser.set_defaults(
            run=lambda parsed, act=act: records.command(
                act,
                parsed.id,
                given=getattr(parsed, "given", None),
                store=parsed.store,
                data=parsed.data,
            )
        )


def _add_search(parser: "_Parser", name: str) -> None:
    search = records.SEARCHES[name]
    if search.states is not None:
        parser.add_argument(
            "--state",
            choices=[state.value for state in search.states],
            help="only those in this state",
        )
    if search.has_tags:
        parser.add_argument(
            "--tags", type=_tags, metavar="JSON", help="only those that carry all of these tags"
        )
    parser.add_argument(
        "--limit",
        type=_integer(1, SEARCH_LIMIT_MAX),
        default=search.limit,
        metavar="N",
        help="how many at most (default: %(default)s)",
    )
    parser.add_argument(
        "--cursor", metavar="TEXT", help="go on where the page ended that told this cursor"
    )
    _add_store(parser)
    parser.set_defaults(
        run=lambda parsed: records.list_command(
            search.listing,
            {field: getattr(parsed, field) for field in search.filters},
            store=parsed.store,
            data=parsed.data,
        )
    )


def _tags(text: str) -> Mapping[str, str]:
    try:
        return records.read_tags(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f'must be a JSON object of texts, such as \'{{"team": "a"}}\' ({error})'
        ) from error


def _json(text: str) -> object:
    try:
        return records.read_value(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be JSON, such as '\"text\"' ({error})") from error


def _add_store(parser: "_Parser") -> None:
    parser.add_argument(
        "--store", metavar="URL", help="the store to ask (default: that of holdfast dev)"
    )
    _add_data(parser, "the data directory of the holdfast dev to ask")


def _add_queues(parser: "_Parser") -> None:
    _add_store(parser)
    parser.set_defaults(run=lambda parsed: queues.command(store=parsed.store, data=parsed.data))


def _add_members(parser: "_Parser") -> None:
    _add_store(parser)
    parser.set_defaults(run=lambda parsed: queues.members(store=parsed.store, data=parsed.data))


def _add_data(parser: "_Parser", text: str) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        default=Options().data,
        metavar="DIR",
        help=f"{text} (default: %(default)s)",
    )


def _options(parsed: argparse.Namespace) -> Options:
    return Options(
        data=parsed.data,
        database_url=parsed.database_url,
        stores=parsed.stores,
        gateways=parsed.gateways,
        workers=parsed.workers,
        db_workers=parsed.db_workers,
        port_base=parsed.port_base,
        debug=parsed.debug,
    )


def _integer(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")

    return parse


def nearest(word: str, known: Iterable[str]) -> str:
    """Return what somebody who typed this word most likely meant."""
    return max(sorted(known), key=lambda each: difflib.SequenceMatcher(None, word, each).ratio())


class _Parser(argparse.ArgumentParser):
    """Answers a mistake with one sentence that names the nearest thing it knows."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")

    def flags(self) -> list[str]:
        """Return the long flags of this command."""
        return [flag for flag in self._option_string_actions if flag.startswith("--")]


_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"  # noqa: SLF001 - it has no other name


def _commands_of(parser: _Parser) -> _Commands:
    """Let a command have commands of its own; without one of them it prints its help."""
    parser.set_defaults(run=lambda _: parser.print_help(), parser=parser)
    return parser.add_subparsers(title="commands", metavar="COMMAND")


def _add(commands: _Commands, name: str, text: str) -> _Parser:
    parser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
    )
    parser.set_defaults(parser=parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
