"""Files that somebody brings with their own ratings: from bytes to text, in memory alone.

An archive's member is read by its bytes and never by its name, so no path in it matters. Every
step is bounded: what a few kilobytes unpack to is not read beyond `LARGEST_TABLE`.
"""

import codecs
import gzip
import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath

from ckf_demo.runtime.errors import UserError

LARGEST_FILE = 4 << 20
"""Bytes of a file as it is sent."""
LARGEST_TABLE = 16 << 20
"""Bytes of a table once it is unpacked."""
MOST_MEMBERS = 2000
"""Files in an archive. An export has a few dozen."""

TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl")
ASIDE = frozenset({"deleted", "orphaned", "__macosx"})
"""Folders of an export whose ratings no longer count."""

_KINDS = (
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format", "a database"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
)
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_MEND = "give the export's zip file, or a table as CSV"
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class TableText:
    """The text of a table, the member of the archive that it was (or ""), and its encoding."""

    text: str
    member: str = ""
    encoding: str = "UTF-8"


def table_text(content: bytes) -> TableText:
    """The text of a file: plain, compressed by gzip, or the ratings within a zip archive.

    Raises
    ------
    UserError
        When the file is empty, too large, damaged, locked by a password, or no text, and when an
        archive holds no ratings.
    """
    if len(content) > LARGEST_FILE:
        raise UserError(
            f"the file has {len(content):,} bytes, more than the {LARGEST_FILE:,} that are read; "
            "give the table of ratings alone"
        )
    member = ""
    if content.startswith(b"PK"):
        member, content = _from_archive(content)
    elif content.startswith(b"\x1f\x8b"):
        content = _gunzipped(content)
    if not content.strip(b"\0 \t\r\n"):
        raise UserError(f"the file is empty; {_MEND}")
    for beginning, kind in _KINDS:
        if content.startswith(beginning):
            raise UserError(f"the file is {kind}, no table of ratings; {_MEND}")
    text, encoding = decoded(content)
    return TableText(text, member, encoding)


def _from_archive(content: bytes) -> tuple[str, bytes]:
    """The name and the bytes of the ratings in a zip archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            member = _ratings_in(archive.infolist())
            if member.flag_bits & 1:
                raise UserError("the zip file is locked by a password; give it without one")
            with archive.open(member) as file:
                table = file.read(LARGEST_TABLE + 1)
    except _DAMAGED as error:
        raise UserError("the zip file is damaged; export or download it again") from error
    return _printable(member.filename), _bounded(table)


def _ratings_in(members: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    """The member that holds the ratings.

    It is called ``ratings.csv``, or has "rating" in its name, or is the only table. Of several the
    one that lies highest counts.
    """
    if len(members) > MOST_MEMBERS:
        raise UserError(f"the zip file holds {len(members):,} files, which no export does; {_MEND}")
    paths = [(member, PurePosixPath(member.filename.replace("\\", "/"))) for member in members]
    if any(path.name == "[Content_Types].xml" for _, path in paths):
        raise UserError("the file is of Excel or Word; save the table as CSV and give that")
    tables = [
        (len(path.parts), path.name.casefold(), member)
        for member, path in paths
        if path.suffix.casefold() in TABLES
        and ASIDE.isdisjoint(part.casefold() for part in path.parts)
    ]
    tables.sort(key=lambda table: table[:2])
    named = [member for _, name, member in tables if name == "ratings.csv"]
    alike = [member for _, name, member in tables if "rating" in name]
    if named or alike:
        return (named or alike)[0]
    if len(tables) == 1:
        return tables[0][2]
    names = ", ".join(_printable(path.name) for _, path in paths[:6]) or "nothing"
    raise UserError(f"the zip file has no ratings.csv; it holds {names}. {_MEND.capitalize()}")


def _gunzipped(content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            table = file.read(LARGEST_TABLE + 1)
    except _DAMAGED as error:
        raise UserError("the gzip file is damaged; pack it again, or give it unpacked") from error
    return _bounded(table)


def _bounded(table: bytes) -> bytes:
    if len(table) > LARGEST_TABLE:
        raise UserError(
            f"the table has more than {LARGEST_TABLE:,} bytes once it is unpacked, which no list "
            "of one person's ratings has; give that list alone"
        )
    return table


def decoded(content: bytes) -> tuple[str, str]:
    """The text of some bytes, and the encoding it was read in.

    UTF-8 comes first, then UTF-16 by its mark or its zeros, and Windows-1252 for the rest.

    Raises
    ------
    UserError
        For bytes that are no text.
    """
    marked = next((mark for mark in _MARKS if content.startswith(mark)), b"")
    content = content.removeprefix(marked)
    encoding = _MARKS[marked] if marked else _guessed(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"the file is no text in {encoding.upper()}; save it as UTF-8") from error
    odd = len(re.findall(r"[\x00-\x08\x0e-\x1f]", text))
    if odd > len(text) / 100:
        raise UserError(f"the file is no text; {_MEND}")
    if re.match(r"\s*<(?:!doctype|html|\?xml)", text, re.IGNORECASE):
        raise UserError(f"the file is a web page or XML, no table of ratings; {_MEND}")
    return text.replace("\0", ""), encoding.upper().replace("CP", "Windows-")


def _guessed(content: bytes) -> str:
    """The encoding of bytes without a mark."""
    sample = content[:4000]
    for odd, encoding in ((sample[1::2], "utf-16-le"), (sample[::2], "utf-16-be")):
        if len(sample) > 3 and odd.count(0) > 0.7 * len(odd):
            return encoding
    for encoding in ("utf-8", "cp1252"):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    # every byte is a character of Latin-1
    return "latin-1"


def _printable(name: str) -> str:
    """A name of an archive's member as a message may show it."""
    return "".join(letter for letter in name if letter.isprintable())[:80]
