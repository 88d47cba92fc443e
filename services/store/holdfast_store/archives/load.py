"""Read lines into an empty database: all of them, or none."""

from collections.abc import Iterator
from typing import BinaryIO, Final

from holdfast_store.archives import lines
from holdfast_store.archives.lines import BadLine, End, Header, Line
from holdfast_store.archives.port import Kind, Record, RecordRefused, Restoration

LINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""No promise makes a line half as long: two payloads of the largest size, tags and headers."""

CHUNK_RECORDS: Final = 500
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Records are written together until one of both is reached."""


class LoadRefused(Exception):
    """A file is not read in, because of one of its lines; nothing was kept."""

    def __init__(self, line: int, message: str, *, field: str = "") -> None:
        place = f"line {line}, field {field}" if field else f"line {line}"
        super().__init__(f"{place}: {message}")
        self.line = line
        self.field = field


class Source:
    """The lines of a file in order, and what has been read of them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._line = 0
        self._bytes_read = 0
        self.counts = dict.fromkeys(Kind, 0)

    def header(self) -> Header:
        """Read the first line."""
        assert self._line == 0, "it is read once, before the records"
        line = self._next()
        if not isinstance(line, Header):
            raise LoadRefused(1, "an export begins with a line of the kind export", field="kind")
        if line.format != lines.FORMAT:
            known = f"the format is {line.format}, this version reads {lines.FORMAT}"
            raise LoadRefused(1, known, field="format")
        return line

    def chunks(self) -> Iterator[dict[int, Record]]:
        """Read records by their line, and check at the end that none is missing."""
        chunk: dict[int, Record] = {}
        bytes_before = self._bytes_read
        while not isinstance(line := self._next(), End):
            if isinstance(line, Header):
                raise LoadRefused(self._line, "a second export begins here", field="kind")
            try:
                chunk[self._line] = lines.record_of(line)
            except BadLine as flaw:
                raise LoadRefused(self._line, str(flaw), field=flaw.field) from flaw
            self.counts[lines.kind_of(line)] += 1
            if len(chunk) >= CHUNK_RECORDS or self._bytes_read - bytes_before >= CHUNK_BYTES:
                yield chunk
                chunk, bytes_before = {}, self._bytes_read
        if chunk:
            yield chunk
        self._check_end(line)

    def _check_end(self, end: End) -> None:
        for kind, count in self.counts.items():
            expected = end.counts.get(kind, 0)
            if count != expected:
                message = (
                    f"it counts {expected} of the kind {kind}, the lines before it are {count}"
                )
                raise LoadRefused(self._line, message, field=f"counts.{kind}")
        if self._file.readline(1):
            raise LoadRefused(self._line + 1, "there is something behind the last line")

    def _next(self) -> Line:
        text = self._file.readline(LINE_BYTES_MAX + 1)
        self._line += 1
        self._bytes_read += len(text)
        if not text:
            raise LoadRefused(self._line, "the file was cut off: its last line is not there")
        if len(text) > LINE_BYTES_MAX:
            raise LoadRefused(self._line, f"the line has more than {LINE_BYTES_MAX} bytes")
        try:
            return lines.decode(text)
        except BadLine as flaw:
            if not text.endswith(b"\n"):
                raise LoadRefused(self._line, "the file was cut off within this line") from flaw
            raise LoadRefused(self._line, str(flaw), field=flaw.field) from flaw


async def load(source: Source, header: Header, restoration: Restoration) -> None:
    """Write every record and commit; raise `LoadRefused` or a `StorageError`, and keep nothing."""
    if header.schema_revision > restoration.revision:
        message = (
            f"a newer version wrote the file: its database had revision {header.schema_revision}, "
            f"this version knows only up to {restoration.revision}; use that one"
        )
        raise LoadRefused(1, message, field="schema_revision")
    for chunk in source.chunks():
        try:
            await restoration.add(list(chunk.values()))
        except RecordRefused as error:
            raise LoadRefused(list(chunk)[error.index], str(error)) from error
    await restoration.commit()
