"""Film titles as people say them, from the way catalogues sort them.

Catalogues write "Matrix, The (1999)". Language models have read "The Matrix", so titles are turned
round once, here, before anything else reads them.
"""

from __future__ import annotations

import re
import unicodedata

from ckf_demo.runtime.assets import word_list

_ARTICLES = word_list("articles")
_NO_WIDTH = " \u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_BRACKETS = re.compile(r"\(([^()]*)\)")
# "(1995)" at the end, perhaps with the medium behind it: "(1995) (V)". A series has the years of
# its first and last part, or is not over: "(2006–2007)", "(2007-)".
_YEAR = re.compile(
    r"\s*\((1[89]\d\d|20\d\d)(?:\s*[-–—‑‒]\s*(?:\d{1,4})?)?\s*\)\s*(?:\((?:V|TV|VG)\)\s*)?$"
)


def turn_article(title: str) -> str:
    """Put the article of a title, and of alternative titles in brackets, back to the front.

    ``"Garden of Finzi-Contini, The (Giardino dei Finzi-Contini, Il)"`` becomes
    ``"The Garden of Finzi-Contini (Il Giardino dei Finzi-Contini)"``. Titles that merely have a
    comma ("Cry, the Beloved Country") stay as they are.
    """
    main, opening, rest = title.partition("(")
    if opening:
        brackets = _BRACKETS.sub(lambda part: f"({_turn_one(part.group(1))})", opening + rest)
        space = main[len(main.rstrip()) :]
        return _turn_one(main.rstrip()) + space + brackets
    return _turn_one(title)


def _turn_one(title: str) -> str:
    head, comma, article = title.rpartition(", ")
    # Sorted-away articles are capitalised; "Wonderful, the" would be something else.
    if not comma or not head.strip() or article.lower() not in _ARTICLES or article.islower():
        return title
    joint = "" if article.endswith("'") else " "
    return f"{article}{joint}{head}"


def tidy_title(title: str) -> tuple[str, int | None]:
    """A catalogue's title as people say it, and the year at its end (or None).

    Spaces are collapsed, characters composed (Unicode NFC), and those without width at the ends are
    left out.
    """
    plain = " ".join(unicodedata.normalize("NFC", title).split()).strip(_NO_WIDTH)
    match = _YEAR.search(plain)
    if match is None or match.start() == 0:
        return turn_article(plain), None
    return turn_article(plain[: match.start()]), int(match[1])
