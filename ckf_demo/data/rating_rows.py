"""A person's own ratings, from the text of an export, of any table, or of pasted lines.

Stars run from half a star to five. Other scales are turned into them:

| scale | stars |
| --- | --- |
| 5 (stars) | as they are, to the nearest half |
| 10 points | half of them: 9 is 4.5, 1 is 0.5 |
| 100 points, percent | a twentieth, to the nearest half: 85 is 4.5 |
| "7/8", "3 of 4" | that share of five stars, to the nearest half |

A 0 on a scale of 5 or 10 means that there is no rating.
"""

import csv
import io
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ckf_demo.data.exports import plain
from ckf_demo.data.rating_files import TableText, table_text
from ckf_demo.data.sources.titles import tidy_title
from ckf_demo.runtime.errors import UserError

SCALES = (5, 10, 100)
LEAST, MOST = 0.5, 5.0
"""Stars."""
MOST_ROWS = 20_000
LONGEST_TITLE = 300
"""Characters."""
FORM = "give a table with the columns title, year and rating, or lines such as “Fargo (1996) 4.5”"

TITLE, ORIGINAL, YEAR, RATING, DATE, KIND, ITEM = (
    "title original year rating date kind item".split()
)
COLUMNS = {
    TITLE: (
        "title name film movie filmtitle movietitle filmname moviename primarytitle titel "
        "filmtitel filmname titre titredufilm titulo titolo pelicula pellicola product productname"
    ),
    ORIGINAL: (
        "originaltitle originalname originaltitel titreoriginal titulooriginal titolooriginale "
        "aka alsoknownas alternativetitle"
    ),
    YEAR: (
        "year releaseyear yearreleased released releasedate startyear jahr erscheinungsjahr annee "
        "ano anno"
    ),
    RATING: (
        "yourrating myrating userrating youscored yourscore myscore rating ratings stars score "
        "ownrating bewertung wertung meinebewertung sterne punkte note manote nota voto "
        "puntuacion valoracion calificacion grade"
    ),
    DATE: "daterated ratedat rateddate watcheddate date timestamp time datum createdat when",
    KIND: "titletype type mediatype kind",
    ITEM: "item itemid",
}
"""Names of columns, without spaces, marks and capitals; of several the first that is there."""
_NAMES = {role: names.split() for role, names in COLUMNS.items()}

NO_FILMS = ("episode", "series", "show", "season", "game", "podcast", "music video")
"""Words of a kind, in the column that says what a row is, that is no film."""

_GLYPHS = {"★": 1.0, "⭐": 1.0, "✭": 1.0, "½": 0.5, "⯪": 0.5, "☆": 0.0, "✩": 0.0, "\ufe0f": 0.0}
_STARS = f"[{''.join(_GLYPHS)}]+"
_NUMBER = r"\d{1,3}(?:[.,]\d{1,2})?"
_POINTS = rf"{_NUMBER}\s*½?\s*(?:(?:/|of|out of|von|sur|de|su)\s*\d{{1,3}}|%|★|⭐)?"
_UNIT = r"(?:\s*(?:stars?|points?|sterne?|punkte?|étoiles?|estrellas?|stelle))?"
_RATED = re.compile(rf"({_STARS}|(?<!\d){_POINTS}){_UNIT}\s*[.;,]?$", re.IGNORECASE)
_LEADING = re.compile(rf"^({_STARS}|{_NUMBER}\s*/\s*\d{{1,3}})[\s:;,|–—-]+(?=\S)", re.IGNORECASE)
_FRACTION = re.compile(
    rf"({_NUMBER})\s*(½?)\s*(?:(?:/|of|out of|von|sur|de|su)\s*(\d{{1,3}})|(%)|[★⭐])?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class OwnRating:
    """One film that somebody rated.

    ``year`` is 0 and ``date`` (ISO) empty where it is unknown. ``others`` are other titles of the
    film, ``item`` its id in a data set where the table names one.
    """

    title: str
    year: int
    stars: float
    others: tuple[str, ...] = ()
    date: str = ""
    item: str = ""


@dataclass(frozen=True)
class OwnRatings:
    """What was read: the ratings, oldest first where dates are known.

    ``source`` is what the input was taken for, ``scale`` the highest rating of its scale.
    ``left_out`` counts rows that hold no rating, by the reason, and ``notes`` are further remarks.
    """

    ratings: tuple[OwnRating, ...]
    source: str
    scale: int
    left_out: dict[str, int] = field(hash=False)
    notes: tuple[str, ...] = ()


@dataclass
class _Row:
    """A row before its scale is known: ``value`` of ``base``, 0 where the table's scale counts."""

    title: str
    year: int
    value: float
    base: float
    others: tuple[str, ...] = ()
    date: str = ""
    item: str = ""


def read_ratings(given: object, scale: object = None) -> OwnRatings:
    """Read ratings from a file's bytes, from text, or from a list of objects.

    Parameters
    ----------
    given
        Bytes as `table_text` takes them; a text with a table, JSON or lines; or
        ``[{"title", "year", "rating"}, …]``.
    scale
        The highest rating, one of `SCALES`; None to recognise it.

    Raises
    ------
    UserError
        When nothing can be read, or the scale is none of `SCALES`.
    """
    base = _scale(scale)
    table = TableText("")
    if isinstance(given, bytes | bytearray):
        table = table_text(bytes(given))
    elif isinstance(given, str):
        table = TableText(given.removeprefix("\ufeff"))
    records = given if _is_list(given) else None
    if records is None and not table.text.strip():
        raise UserError(f"no ratings were given; {FORM}")
    left_out: Counter[str] = Counter()
    if records is None:
        records = _from_json(table.text)
    if records is not None:
        source, rows, hint = "JSON", *_from_records(records, left_out)
    else:
        source, rows, hint = _from_text(table.text, left_out)
    if not rows and not left_out:
        raise UserError(f"no ratings were found in what was given; {FORM}")
    base = base or hint or _guessed_scale(rows, lines=source == "lines")
    notes = []
    if table.encoding != "UTF-8":
        notes.append(f"The text was read as {table.encoding}.")
    if table.member:
        source = f"{source}, {table.member}"
    ratings = sorted(_in_stars(rows, base, left_out), key=lambda rating: rating.date)
    if not ratings:
        reasons = "; ".join(f"{n:,} × {reason}" for reason, n in left_out.items())
        raise UserError(f"none of the rows holds a rating ({reasons}); {FORM}")
    return OwnRatings(tuple(ratings), source, base, dict(left_out), tuple(notes))


def _is_list(given: object) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str | bytes | bytearray)


def _scale(scale: object) -> int:
    if scale in (None, "", 0):
        return 0
    known = {str(number): number for number in SCALES}
    if isinstance(scale, bool) or str(scale).removesuffix(".0") not in known:
        raise UserError(f"a scale of {scale!r} is unknown; give one of {', '.join(known)}")
    return known[str(scale).removesuffix(".0")]


# Rows from records, tables and lines


def _from_json(text: str) -> list | None:
    """The records of a JSON text or of one object a line; None for what is no JSON."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise UserError(f"the JSON is nested too deeply; {FORM}") from error
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            value = [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            return None
    if isinstance(value, Mapping):
        lists = [part for part in value.values() if isinstance(part, list)]
        value = value.get("ratings") or value.get("matched") or (lists[0] if lists else [value])
    return value if isinstance(value, list) else None


def _from_records(records: Sequence, left_out: Counter[str]) -> tuple[list[_Row], int]:
    if len(records) > MOST_ROWS:
        raise _too_many(len(records))
    if not all(isinstance(record, Mapping) for record in records):
        form = '{"title": "Fargo", "year": 1996, "rating": 4.5}'
        raise UserError(f"a list of ratings holds objects such as {form}; {FORM}")
    names = list(dict.fromkeys(str(name) for record in records for name in record))
    columns = _columns(names)
    if RATING not in columns or not {TITLE, ITEM} & columns.keys():
        raise _no_columns(names)
    cells = [[_text(record.get(name)) for name in names] for record in records]
    return list(_rows(cells, columns, left_out)), _scale_of_header(names[columns[RATING]])


def _from_text(text: str, left_out: Counter[str]) -> tuple[str, list[_Row], int]:
    """What a text is, its rows, and the scale that its header names (or 0)."""
    text, separator = _said_separator(text)
    header, cells = _table(text, separator)
    columns = _columns(header)
    if RATING in columns and {TITLE, ITEM} & columns.keys():
        keys = {_bare(name) for name in header}
        source, hint = "table", _scale_of_header(header[columns[RATING]])
        if "letterboxduri" in keys:
            source, hint = "Letterboxd export", hint or 5
        elif {"const", "yourrating"} <= keys:
            source, hint = "IMDb export", 10
        return source, list(_rows(cells, columns, left_out)), hint
    if {TITLE, YEAR} <= columns.keys() and len(header) > 2:
        raise _no_columns(header)
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_ROWS:
        raise _too_many(len(lines))
    return "lines", list(_lines(lines, left_out)), 0


def _said_separator(text: str) -> tuple[str, str]:
    """The text without Excel's first line that names the separator, and the separator or ""."""
    if match := re.match(r'"?sep=(.)"?\r?\n', text):
        return text[match.end() :], match[1]
    return text, ""


def _table(text: str, separator: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows by the separator under which the header names most that is known."""
    best: tuple[tuple[int, int], str] = ((0, 0), ",")
    first = next((line for line in text.splitlines() if line.strip()), "")
    for each in separator or ",;\t|":
        header = next(_cells(first, each), [])
        best = max(best, ((len(_columns(header)), len(header)), each), key=lambda one: one[0])
    if best[0][0] < 2:
        return [], []
    rows = [row for row in _cells(text, best[1]) if any(cell.strip() for cell in row)]
    if len(rows) - 1 > MOST_ROWS:
        raise _too_many(len(rows) - 1)
    return rows[0], rows[1:]


def _cells(text: str, separator: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    except csv.Error as error:
        raise UserError(f"the table cannot be read ({error}); save it again as CSV") from error


def _columns(header: Sequence[str]) -> dict[str, int]:
    """The place of each role's column in a header; roles without one are left out."""
    keys = [_bare(name) for name in header]
    # "Rating10" and "Rating (1-10)" are ratings whose scale the name says
    plain = [re.sub(r"(?:1?to|outof|of)?\d+$", "", key) for key in keys]
    places = {}
    for role, names in _NAMES.items():
        named = next((name for name in names if name in keys), None)
        if named is not None:
            places[role] = keys.index(named)
        elif role == RATING:
            named = next((name for name in names if name in plain), None)
            if named is not None:
                places[role] = plain.index(named)
    return places


def _bare(name: str) -> str:
    """A column's name without accents, marks, spaces and capitals."""
    plain = unicodedata.normalize("NFKD", str(name).casefold())
    return "".join(letter for letter in plain if letter.isalnum())


def _scale_of_header(name: str) -> int:
    match = re.search(r"(?<!\d)(5|10|100)\D*$", name)
    return int(match[1]) if match else 0


def _rows(
    cells: Iterable[Sequence[str]], columns: Mapping[str, int], left_out: Counter[str]
) -> Iterator[_Row]:
    for row in cells:

        def cell(role: str, row: Sequence[str] = row) -> str:
            place = columns.get(role, -1)
            return _plain(row[place]) if 0 <= place < len(row) else ""

        kind = cell(KIND).casefold()
        rating, item = cell(RATING), plain(cell(ITEM))
        title, year = tidy_title(plain(cell(TITLE)))
        if not (title or item) or len(title) > LONGEST_TITLE:
            left_out["no title"] += 1
        elif any(word in kind for word in NO_FILMS):
            left_out["not a film"] += 1
        elif not rating:
            left_out["not rated"] += 1
        elif (value := _value(rating)) is None:
            left_out["a rating that is no number"] += 1
        else:
            said = re.search(r"(?<!\d)(1[89]\d\d|20\d\d)(?!\d)", cell(YEAR))
            other = tidy_title(plain(cell(ORIGINAL)))[0][:LONGEST_TITLE]
            others = (other,) if other and other != title else ()
            year = int(said[1]) if said else year or 0
            yield _Row(title, year, *value, others, _date(cell(DATE)), item)


def _lines(lines: Iterable[str], left_out: Counter[str]) -> Iterator[_Row]:
    """Rows of lines such as "Fargo (1996) 4.5", "★★★★½ Fargo" and "Fargo; 1996; 9/10"."""
    for line in lines:
        text = re.sub(r"^\s*(?:[-*•·]|\d{1,4}[.)])\s+", "", _plain(line))
        match = _RATED.search(text)
        if first := _LEADING.match(text):
            rated, rest = first[1], text[first.end() :]
        elif match and text[: match.start()].strip(" ,;:|\t-–—"):
            rated, rest = match[1], text[: match.start()]
        else:
            left_out["a line without a rating"] += 1
            continue
        value = _value(rated)
        rest, year = _year_of(rest.strip(" ,;:|\t-–—"))
        title, in_brackets = tidy_title(rest.strip('"“”„ ').replace('""', '"'))
        if value is None or not title or len(title) > LONGEST_TITLE:
            left_out["a line that cannot be read"] += 1
        else:
            yield _Row(title, year or in_brackets or 0, *value)


def _year_of(text: str) -> tuple[str, int]:
    """A line without a year that stands at its end or its beginning, and the year or 0."""
    match = re.match(r"(.*\S)[\s,;|]+\(?(1[89]\d\d|20\d\d)\)?$", text)
    # "Blade Runner 2049" is a title
    if match and int(match[2]) <= datetime.now(UTC).year + 1:
        return match[1].rstrip(" ,;|-–—"), int(match[2])
    if match := re.match(r"(1[89]\d\d|20\d\d)\s*[,;|\t]\s*(\S.*)$", text):
        return match[2], int(match[1])
    return text, 0


# Values


def _value(text: str) -> tuple[float, float] | None:
    """A rating and the highest one of its scale, 0 where it names none; None for no rating."""
    text = text.strip()
    if re.fullmatch(_STARS, text):
        return sum(_GLYPHS[glyph] for glyph in text), 5
    if match := _FRACTION.fullmatch(text):
        number = float(match[1].replace(",", ".")) + 0.5 * bool(match[2])
        base = 100 if match[4] else float(match[3] or 0)
        return number, 5 if "★" in text or "⭐" in text else base
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return None
    return (number, 0) if math.isfinite(number) else None


def _guessed_scale(rows: Sequence[_Row], *, lines: bool) -> int:
    """The smallest scale that holds all ratings; of lines, whose titles may end in a number, two
    thirds."""
    values = [row.value for row in rows if not row.base]
    share = 2 / 3 if lines else 1
    for scale in SCALES:
        if sum(value <= scale for value in values) >= share * len(values):
            return scale
    raise UserError(
        f"ratings up to {max(values):g} are on no scale that is known; the highest may be 5, 10 "
        "or 100"
    )


def _in_stars(rows: Iterable[_Row], scale: int, left_out: Counter[str]) -> Iterator[OwnRating]:
    for row in rows:
        base = row.base or scale
        if not row.base and row.value == 0 and scale != 100:
            left_out["not rated"] += 1
        elif not 0 <= row.value <= base:
            left_out[f"a rating outside 0 to {base:g}"] += 1
        else:
            stars = to_stars(row.value, base)
            yield OwnRating(row.title, row.year, stars, row.others, row.date, row.item)


def to_stars(value: float, scale: float) -> float:
    """A rating as stars: its share of five, to the nearest half (up in the middle), 0.5 at least.

    >>> [to_stars(9, 10), to_stars(85, 100), to_stars(3.5, 5), to_stars(0, 100)]
    [4.5, 4.5, 3.5, 0.5]
    """
    halves = math.floor(2 * MOST * value / scale + 0.5)
    return min(max(halves / 2, LEAST), MOST)


def _date(text: str) -> str:
    """A date as ISO text, which sorts; "" for what is no date."""
    if re.fullmatch(r"\d{9,13}", text):
        seconds = int(text) / (1000 if len(text) > 10 else 1)
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    if match := re.match(r"(\d{1,2})[./](\d{1,2})[./](\d{4})$", text):
        # the day comes first where there are points
        day, month = (match[1], match[2]) if "." in text else (match[2], match[1])
        text = f"{match[3]}-{int(month):02}-{int(day):02}"
    return text if re.match(r"\d{4}-\d\d-\d\d", text) else ""


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _plain(text: str) -> str:
    """A cell without control characters and needless spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def _no_columns(header: Sequence[str]) -> UserError:
    names = ", ".join(_plain(name)[:40] for name in header[:12])
    return UserError(f"no columns of title and rating were found among {names}; {FORM}")


def _too_many(number: int) -> UserError:
    return UserError(
        f"{number:,} rows are more than the {MOST_ROWS:,} that are read; give the ratings of one "
        "person"
    )
