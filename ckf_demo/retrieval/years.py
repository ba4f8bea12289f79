"""Years in a sentence: "before 1970", "the late 80s", "from 1940 to 1950"."""

import re
from collections.abc import Sequence

from ckf_demo.retrieval.spoken import Sentence
from ckf_demo.retrieval.terms import Lexicon
from ckf_demo.runtime.assets import asset

_DECADES = {
    name: int(decade)
    for decade, names in asset("sentences.toml")["decades"].items()
    for name in names
}
_NAMES = "|".join(_DECADES)
_YEAR = r"(?:1[89]|20)\d\d"
_DECADE = rf"(?:(early|mid|late) )?(?:nineteen )?(?:((?:19|20)?\d0)s|({_NAMES}))"
_POINT = rf"(?:the )?(?:year )?(?:({_YEAR})\b|{_DECADE})"
_BEFORE = r"before|until|till|up to|older than|prior to|earlier than|pre|vor|avant|antes de"
_AFTER = (
    r"after|since|newer than|later than|younger than|post|starting in|nach|apres|depuis|despues de"
)
_BETWEEN = re.compile(
    rf"\b(?:(?:between|from) )?{_POINT}(?: (?:and|to|till|until|through))? {_POINT}"
)
_RANGE_WORDS = re.compile(r"\b(?:between|to|till|until|through)\b")
_BOUND = re.compile(rf"\b({_BEFORE}|{_AFTER}) {_POINT}")
_SINGLE = re.compile(rf"\b{_POINT}(?: (?:on|onwards|onward|and later|or later)\b)?")


def _point(groups: Sequence[str | None]) -> tuple[int, int] | None:
    """First and last year of the groups of `_POINT`: year, part of a decade, digits, name."""
    year, part, digits, name = groups
    if year:
        return int(year), int(year)
    if digits:
        low = int(digits) if len(digits) == 4 else 1900 + int(digits)
    elif name:
        low = _DECADES[name]
    else:
        return None
    first, last = {"early": (0, 4), "mid": (3, 6), "late": (5, 9)}.get(part or "", (0, 9))
    return low + first, low + last


def find_years(said: Sentence, lexicon: Lexicon) -> None:
    """Take the years, decades and bounds that a sentence names."""
    text, starts = "", []
    for token in said.tokens:
        starts.append(len(text))
        hidden = token.mark or (token.taken and not token.negative)
        text += ("|" if hidden else token.word) + " "

    def take(match: re.Match, low: int | None, high: int | None, name: str) -> None:
        first = next(i for i, at in enumerate(starts) if at >= match.start())
        last = max(i for i, at in enumerate(starts) if at < match.end())
        if said.free(first, last + 1) and not said.before(
            first, {"set in", "about", "setting", "like"}
        ):
            said.take(first, last + 1, [lexicon.years(low, high, name)])

    for match in _BETWEEN.finditer(text):
        one, other = _point(match.groups()[:4]), _point(match.groups()[4:])
        if (
            one
            and other
            and (_RANGE_WORDS.search(match.group()) or (match.group(1) and match.group(5)))
        ):
            low, high = min(one[0], other[0]), max(one[1], other[1])
            take(match, low, high, f"from {low} to {high}")
    for match in _BOUND.finditer(text):
        low, high = _point(match.groups()[1:]) or (0, 0)
        word = match.group(1)
        if re.fullmatch(_BEFORE, word):
            last = high if word in ("until", "till", "up to") else low - 1
            take(match, None, last, f"before {last + 1}")
        else:
            first = low if word in ("since", "starting in", "depuis") else high + 1
            take(match, first, None, f"from {first} on")
    for match in _SINGLE.finditer(text):
        point = _point(match.groups())
        if point and re.search(r"(?:on|onwards|onward|later)$", match.group()):
            take(match, point[0], None, f"from {point[0]} on")
        elif point:
            low, high = point
            take(match, low, high, f"from {low}" if low == high else f"from {low} to {high}")
