"""What is printed beside what happened: alike but for what differs each time.

Ids of processes, jobs and reports stand for those of this run: the first match binds them, from
then on they are the same everywhere, in commands too. Instants and chance are not compared, and `…`
on a page stands for anything.
"""

import re

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_BOUND = rf"{_UUID}|rpt_\d{{13}}_[0-9a-f]{{8}}"
_PROCESS = r'(?:process |process \[|pid |"(?:store|gateway|db|worker)(?:-\d+)?": )'
_MOVING = (
    r"\d{13}",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    r"\d\d:\d\d:\d\d\.\d{3}",
    r'"(?:rowCount|receipt)":\d+',
    r"\d+,\d{3} rows",
)
_TOKEN = re.compile(
    rf"(?P<any>…)|(?P<bound>{_BOUND})|(?P<what>{_PROCESS})(?P<process>\d+)"
    rf"|(?P<moving>{'|'.join(_MOVING)})"
)


class Names:
    """What the names on a page stand for in this run."""

    def __init__(self) -> None:
        self._meant: dict[str, str] = {}

    def translated(self, text: str) -> str:
        """Put the names of this run into a command."""
        for printed, meant in self._meant.items():
            text = re.sub(rf"\b{re.escape(printed)}\b", meant, text)
        return text

    def found(self, printed: str, happened: str, *, whole: bool) -> bool:
        """Tell whether the printed is what happened, and remember what its names stand for."""
        groups: dict[str, str] = {}
        pattern = self._pattern(printed, groups)
        match = (re.fullmatch if whole else re.search)(pattern, happened)
        if match is None:
            return False
        self._meant |= {name: match[group] for group, name in groups.items()}
        return True

    def _pattern(self, printed: str, groups: dict[str, str]) -> str:
        parts: list[str] = []
        end = 0
        for token in _TOKEN.finditer(printed):
            parts.append(re.escape(printed[end : token.start()]))
            end = token.end()
            parts.append(self._part(token, groups))
        return "".join([*parts, re.escape(printed[end:])])

    def _part(self, token: re.Match[str], groups: dict[str, str]) -> str:
        if token["any"]:
            return r"[\s\S]*?"
        if token["moving"]:
            return next(kind for kind in _MOVING if re.fullmatch(kind, token["moving"]))
        name = token["bound"] or token["process"]
        kind = r"\d+" if token["process"] else _BOUND
        before = re.escape(token["what"] or "")
        if name in self._meant:
            return before + re.escape(self._meant[name])
        known = [group for group, each in groups.items() if each == name]
        if known:
            return f"{before}(?P={known[0]})"
        group = f"name{len(groups)}"
        groups[group] = name
        return f"{before}(?P<{group}>{kind})"
