"""Reads values.yaml with its comments: a tree of values, each with what it is for.

Above each key stands a comment. `# --` begins the description; a description that goes on in the
next line just does so. Directives follow it, and go on in lines that are indented further:

    # @schema {minimum: 1}      adds to the schema that the default says
    # @settings store           a map of that service's settings by their full names
    # @each workerGroupDefaults a map of things that have the shape of another value
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

DESCRIPTION: Final = "# --"
DIRECTIVE: Final = re.compile(r"# @([a-z]+) (.*)")


class Undocumented(Exception):
    """A key lacks its description, or a directive is not understood; names the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A key of values.yaml. Only those without children have a default of their own."""

    path: tuple[str, ...]
    doc: str
    default: Any
    schema: dict[str, Any] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    each: str = ""
    children: tuple["Value", ...] = ()

    @property
    def name(self) -> str:
        """The key itself."""
        return self.path[-1] if self.path else ""

    @property
    def is_group(self) -> bool:
        """Whether this is a fixed set of keys, rather than a value that a user gives whole."""
        return bool(self.children) and not self.each

    def walk(self) -> Iterator["Value"]:
        """Return this value and all below it, in the order of the file."""
        yield self
        for child in self.children:
            yield from child.walk()


def read_values(text: str) -> Value:
    """Parse values.yaml; raise Undocumented when a key says nothing about itself."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert root is not None, "values.yaml is empty"
    return _read(root, text.splitlines(), path=(), comment=())


def _read(
    node: yaml.Node, lines: Sequence[str], *, path: tuple[str, ...], comment: Sequence[str]
) -> Value:
    doc, directives = _parse_comment(comment, path)
    schema: dict[str, Any] = {}
    for text in directives.get("schema", ()):
        schema |= yaml.safe_load(text)
    each = "".join(directives.get("each", ()))
    children: tuple[Value, ...] = ()
    if isinstance(node, yaml.MappingNode) and node.value and "additionalProperties" not in schema:
        children = tuple(
            _read_entry(key, value, lines, path=path, is_item=bool(each))
            for key, value in node.value
        )
    if path and not doc and not children:
        raise Undocumented(_at(node, path, "says nothing about itself; write `# --` above it"))
    return Value(
        path=path,
        doc=doc,
        default=_construct(node),
        schema=schema,
        settings=tuple(" ".join(directives.get("settings", ())).split()),
        each=each,
        children=children,
    )


def _read_entry(
    key: yaml.Node, value: yaml.Node, lines: Sequence[str], *, path: tuple[str, ...], is_item: bool
) -> Value:
    comment = _comment_above(lines, key.start_mark.line)
    below = (*path, key.value)
    if not is_item:
        return _read(value, lines, path=below, comment=comment)
    doc, _ = _parse_comment(comment, below)
    if not doc:
        raise Undocumented(_at(key, below, "says nothing about itself; write `# --` above it"))
    return Value(path=below, doc=doc, default=_construct(value))


def _comment_above(lines: Sequence[str], line: int) -> list[str]:
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return [each.strip() for each in lines[first:line]]


def _parse_comment(
    comment: Sequence[str], path: tuple[str, ...]
) -> tuple[str, dict[str, list[str]]]:
    """Return the description, and the directives by name; what stands before is for readers."""
    doc: list[str] = []
    directives: dict[str, list[str]] = {}
    begun: list[str] | None = None
    for line in comment:
        if line.startswith(DESCRIPTION):
            begun = doc = [line.removeprefix(DESCRIPTION).strip()]
        elif found := DIRECTIVE.fullmatch(line):
            name, text = found.groups()
            if name not in {"schema", "settings", "each"}:
                raise Undocumented(f"{'.'.join(path)}: there is no directive @{name}")
            begun = directives.setdefault(name, [])
            begun.append(text)
        elif begun is doc and begun:
            begun[-1] += line.removeprefix("#")
        elif begun:
            begun[-1] += " " + line.removeprefix("#").strip()
    return " ".join(doc), directives


def _construct(node: yaml.Node) -> Any:  # noqa: ANN401 - any YAML
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _at(node: yaml.Node, path: tuple[str, ...], flaw: str) -> str:
    return f"values.yaml, line {node.start_mark.line + 1}: {'.'.join(path)} {flaw}"
