"""Titles that a sentence names: after "like" and its kin, in capitals, in lists, and of series."""

import re
from collections import defaultdict
from functools import cached_property

from rapidfuzz import fuzz, process

from ckf_demo.retrieval.people import People
from ckf_demo.retrieval.spoken import ENGLISH, Sentence, filler_of
from ckf_demo.retrieval.terms import Words, singular, words_of
from ckf_demo.runtime.assets import asset

TITLE_LIKENESS = 88
"""Least similarity (`rapidfuzz.fuzz.ratio`, 0 to 100) of a misspelt title."""

LONGEST_TITLE = 8
"""Words."""

LONGEST_CUE = 9
"""Words and marks before a title that may say that one follows."""

ARTICLES = ("the", "a", "an")
NUMERALS = {"ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8"}
SMALL = frozenset("of the in to a an de la le du del der".split())
"""Words in small letters within a title in capitals."""

JOINS = frozenset({",", "and", "or", "und", "oder", "et", "ou", "y", "plus"})
SAYS = frozenset({"is", "was", "were", "are", "rocks", "rules"})

_SERIES = re.compile(
    r"(?P<mark>: | - | \(| or\b| and the\b|(?<=[A-Z]\.) the\b)"
    r"|(?: |: part )(?P<number>\d|[IV]+)(?P<rest>:|$)",
    re.I,
)
_IN_BRACKETS = re.compile(r"\( \d{4} \)")


def normal(words: Words) -> Words:
    """A title's words without article, "part" and "and"; numerals as digits."""
    if words[:1] in (("the",), ("a",), ("an",)) and len(words) > 1:
        words = words[1:]
    if len(words) < 2:
        return words
    numbered = [NUMERALS.get(word, word) for word in words[1:-1] if word not in ("part", "and")]
    return words[0], *numbered, NUMERALS.get(words[-1], words[-1])


class Titles:
    """Finds titles in sentences; ``filler`` are the words that say nothing."""

    def __init__(self, people: People, filler: frozenset[str]):
        self.people, self.lexicon, self.filler = people, people.lexicon, filler
        words = asset("sentences.toml")["likeness"]
        skip = "|".join(map(re.escape, words["between"]))
        self._strong = self._cue_of([*words["before"], *words["named"]], skip)
        self._weak = self._cue_of(words["maybe"], skip)
        subjects = "|".join(words["verb"])
        self._verb = re.compile(rf"(?:^| )(?:{subjects}) like(?: (?:{skip}))*$")

    @staticmethod
    def _cue_of(phrases: list[str], skip: str) -> re.Pattern[str]:
        # longest first; phrases may hold patterns, such as "favou?rites?"
        names = "|".join(sorted(phrases, key=len, reverse=True))
        return re.compile(rf"(?:^| )(?:{names})(?: (?:{skip}))*$")

    @cached_property
    def _titles(self) -> dict[Words, list[int]]:
        found: dict[Words, list[int]] = defaultdict(list)
        for key, items in self.lexicon.titles.items():
            found[normal(key)] += items
        return dict(found)

    @cached_property
    def _series(self) -> dict[Words, list[int]]:
        """Items by the words that begin their titles before a mark or a number, oldest first."""
        prepared = self.lexicon.prepared
        found: dict[Words, list[int]] = defaultdict(list)
        for item in sorted(range(prepared.n_items), key=lambda i: prepared.years[i]):
            title = prepared.titles[item]
            names = {title}
            for match in _SERIES.finditer(title):
                names.add(title[: match.start()])
                if match["number"]:
                    names.add(title[: match.end("number")])
            if match := re.match(r"\S+ \S+'s (.+ .+)", title):
                # "Romeo and Juliet" without its author
                names.add(match[1])
            if match := re.match(r"(?:[A-Z]\.){2,}", title):
                names.add(match[0].replace(".", ""))
            for key in {normal(tuple(words_of(name))) for name in names}:
                if key and (key[-1] not in ENGLISH or len(key[-1]) == 1):
                    found[key].append(item)
        return dict(found)

    @cached_property
    def _texts(self) -> list[str]:
        return [text for key in self._titles if len(text := " ".join(key)) >= 5]

    # Looking up

    def items(self, words: Words, *, short: bool = False) -> list[int]:
        """Items of that title, or of the series so called; ``short``: of one word too."""
        key = normal(words)
        if key in self._titles:
            return self._titles[key]
        several = self._series.get(key, []) if len(key) > 1 or short else []
        return several or self._numbered(key)

    def _numbered(self, key: Words) -> list[int]:
        """The third film of those whose titles begin with "Die Hard", for "Die Hard 3"."""
        if len(key) < 2 or not re.fullmatch(r"[2-9]", key[-1]):
            return []
        items, place = self._series.get(key[:-1], []), int(key[-1])
        numbers = [normal(tuple(words_of(self.lexicon.prepared.titles[i])))[-1] for i in items]
        in_order = all(not n.isdigit() or int(n) == i for i, n in enumerate(numbers, start=1))
        return [items[place - 1]] if in_order and place <= len(items) else []

    # Finding

    def find(self, said: Sentence) -> None:
        """Take titles that are listed, named after a cue, or in capitals."""
        if self._take_list(said):
            return
        for start, token in enumerate(said.tokens):
            if token.free and (cue := self._cue(said, start)):
                found = self._members(said, start, strong=cue == "strong")
                if found and cue == "weak":
                    self._members(said, start, strong=True)
        for start in range(len(said.tokens)):
            self._bare(said, start)

    def _cue(self, said: Sentence, start: int) -> str:
        """Whether the words before say that a title follows: "strong", "weak" or ""."""
        if said.tokens[start - 1 : start] and said.tokens[start - 1].word in '"“':
            return "strong"
        text = said.text(start - LONGEST_CUE, start)
        if self._weak.search(text) or self._verb.search(text):
            return "weak"
        return "strong" if self._strong.search(text) else ""

    def _take_list(self, said: Sentence) -> bool:
        """Take a sentence that is a list of titles and nothing else."""
        parts, at, plain = [], 0, True
        while at < len(said.tokens):
            end, items = self._longest(said, at)
            if not items and self._at_edge(said, at, not parts):
                at = self._behind_joins(said, at + 1)
                continue
            if not items:
                return False
            plain = plain and self._is_plain(said, at, end)
            parts.append((at, end, items))
            at = self._behind_joins(said, end)
            if at == end < len(said.tokens) and not self._at_edge(said, at, False):
                return False
        if len(parts) < 2 or plain:
            return False
        for start, end, items in parts:
            said.take(start, end, [], like=tuple(items))
        return True

    def _at_edge(self, said: Sentence, at: int, first: bool) -> bool:
        """Whether a word says nothing at the beginning of a list, or only such words follow."""
        rest = said.tokens[at : at + 1] if first else said.tokens[at:]
        return all(token.mark or token.word in self.filler for token in rest)

    def _longest(self, said: Sentence, start: int) -> tuple[int, list[int]]:
        for end in self._ends(said, start):
            if items := self.items(self._words(said, start, end)):
                return end, items
        return start, []

    def _ends(self, said: Sentence, start: int) -> list[int]:
        """Where a title that begins here may end, furthest first; marks may stand within."""
        ends, words = [], 0
        for at in range(start, len(said.tokens)):
            token = said.tokens[at]
            if token.taken or words == LONGEST_TITLE or (at == start and token.mark):
                break
            if not token.mark:
                words += 1
                ends.append(at + 1)
        return ends[::-1]

    @staticmethod
    def _words(said: Sentence, start: int, end: int) -> Words:
        return tuple(token.word for token in said.tokens[start:end] if not token.mark)

    @staticmethod
    def _behind_joins(said: Sentence, at: int) -> int:
        while at < len(said.tokens) and said.tokens[at].word in JOINS | {".", "!"}:
            at += 1
        return at

    def _members(self, said: Sentence, start: int, *, strong: bool) -> bool:
        """Take the titles of a list that begins here; return whether there are any."""
        found, at = False, start
        while at < len(said.tokens):
            while said.text(at, at + 1) in ("both", "also", "maybe", '"', "“", "especially"):
                at += 1
            taken = said.tokens[at : at + 1] and said.tokens[at].taken
            end = None if taken else self._title(said, at, strong)
            found = found or end is not None
            end = end or self._other_member(said, at)
            if end is None:
                return found
            if _IN_BRACKETS.fullmatch(said.text(end, end + 3)):
                end += 3
            while said.text(end, end + 1) in ('"', "”", "too"):
                end += 1
            at = end
            while at < len(said.tokens) and said.tokens[at].word in JOINS:
                at += 1
            if at == end:
                return found
        return found

    def _title(self, said: Sentence, start: int, strong: bool) -> int | None:
        """Take the title that begins at a token behind a cue; return where it ends, or None."""
        for end in self._ends(said, start):
            words = self._words(said, start, end)
            named = self._in_capitals(said, start, end)
            items = self.items(words, short=strong and (named or words[0].isdigit()))
            if items and self._fits_in(said, start, end, items, strong=strong, named=named):
                self._take(said, start, end, items)
                return end
        return self._misspelt(said, start, strong)

    def _fits_in(
        self, said: Sentence, start: int, end: int, items: list[int], *, strong: bool, named: bool
    ) -> bool:
        """Whether the words stand there as a title would."""
        words = self._words(said, start, end)
        plain = self._is_plain(said, start, end)
        if plain and not (strong and named):
            return False
        several = len(words) - (words[0] in ARTICLES) > 1
        if several:
            return named or not all(word in self.filler for word in words)
        if not named and (words[-1] in self.filler or not self._article_fits(words, items)):
            return False
        return self._is_boundary(said, end)

    def _article_fits(self, words: Words, items: list[int]) -> bool:
        """ "a scream" is not Scream: an article that is said must be the title's."""
        titles = (self.lexicon.prepared.titles[item] for item in items)
        return words[0] not in ARTICLES or any(words_of(t)[:1] == [words[0]] for t in titles)

    def _is_boundary(self, said: Sentence, at: int) -> bool:
        """Whether what follows cannot belong to the name."""
        if at == len(said.tokens):
            return True
        token = said.tokens[at]
        quiet = token.word in self.filler or token.word in filler_of(said.language)
        return token.mark or token.taken or (quiet and token.word != "of")

    def _take(self, said: Sentence, start: int, end: int, items: list[int]) -> None:
        said.take(start, end, [], like=tuple(items))
        # "Heat (1995)"
        if _IN_BRACKETS.fullmatch(said.text(end, end + 3)):
            said.hide(end, end + 3)

    def _is_plain(self, said: Sentence, start: int, end: int) -> bool:
        """Whether the words are also the name of a genre, a theme and the like."""
        words = self._words(said, start, end)
        key = tuple(map(singular, words[1:] if words[0] in ARTICLES and len(words) > 1 else words))
        return key in self.lexicon.terms

    @staticmethod
    def _in_capitals(said: Sentence, start: int, end: int) -> bool:
        tokens = [token for token in said.tokens[start:end] if not token.mark]
        long = [t for t in tokens if len(t.word) > 3 and not t.word.isdigit()]
        return any(t.capital for t in tokens) and all(t.capital for t in long)

    def _bare(self, said: Sentence, start: int) -> None:
        """Take a title in capitals without a cue, or one that is all of the sentence."""
        content = [i for i, token in enumerate(said.tokens) if not token.mark]
        for end in self._ends(said, start):
            words = self._words(said, start, end)
            alone = (content[0], content[-1]) == (start, end - 1)
            named = self._in_capitals(said, start, end)
            items = self.items(words) if named or alone else []
            if not items or self._is_plain(said, start, end):
                continue
            several = len(normal(words)) > 1 and said.tokens[end - 1].word not in ENGLISH
            dated = bool(_IN_BRACKETS.fullmatch(said.text(end, end + 3)))
            spoken_of = dated or said.text(end, end + 1) in SAYS
            if alone or (words not in self.lexicon.people and named and (several or spoken_of)):
                self._take(said, start, end, items)
                behind = self._behind_joins(said, end)
                if behind > end and said.tokens[end].word in JOINS:
                    self._members(said, behind, strong=True)
                return

    # Names that are no title here

    def _other_member(self, said: Sentence, start: int) -> int | None:
        """Where a member of a list ends that is no title; unknown titles are noted."""
        if start >= len(said.tokens):
            return None
        if said.tokens[start].taken:
            return next((m.end for m in said.mentions if m.start == start), None)
        end = self._capitals_end(said, start)
        words = self._words(said, start, end)
        names = words[1:] if words[:1] in (("the",), ("a",), ("an",)) else words
        if not names:
            return None
        if len(words) < 2 or self._is_something_else(said, start, end, names):
            return end
        said.strange.append(said.name(start, end))
        said.hide(start, end)
        return end

    def _capitals_end(self, said: Sentence, start: int) -> int:
        """Where a run of words in capitals ends, small words such as "of" within it."""
        end = at = start
        while at < len(said.tokens) and said.tokens[at].free:
            token = said.tokens[at]
            # the second part of "You've" goes with the first
            if token.capital or (end > start and (token.word.isdigit() or not token.shown)):
                end = at + 1
            elif token.word not in SMALL:
                break
            at += 1
        return end

    def _is_something_else(self, said: Sentence, start: int, end: int, names: Words) -> bool:
        """Whether a run of capitals is a person, or begins or ends with a genre and the like."""
        lexicon = self.lexicon
        if names[-1] in self.filler:
            return True
        if any((singular(word),) in lexicon.terms for word in (names[0], names[-1])):
            return True
        if any(t.closes for t in said.tokens[start:end]) or said.text(end, end + 1) in (
            "brothers",
            "sisters",
        ):
            return True
        if len(names) == 1:
            # "a Hitchcock film" speaks of a person, "The Matrix" of a film
            return not said.tokens[start].capital or names == self._words(said, start, end)
        return self.people.knows(said, start, end)

    # Misspelt titles

    def find_misspelt(self, said: Sentence) -> None:
        """A sentence that names nothing else may be a misspelt title."""
        tokens = said.tokens
        if not said.mentions and 0 < len(tokens) <= LONGEST_TITLE and said.free(0, len(tokens)):
            self._take_nearest(said, 0, len(tokens))

    def _misspelt(self, said: Sentence, start: int, strong: bool) -> int | None:
        capital = said.tokens[start].capital
        if not capital and not strong:
            return None
        end = start
        while end < len(said.tokens) and said.tokens[end].free and end - start < LONGEST_TITLE:
            if said.tokens[end].word in ("but", "and", "or", "with", "without", "only"):
                break
            end += 1
        for last in range(end, start, -1):
            # in small letters only longer ones are safe
            enough = capital or (last - start > 1 and len(said.text(start, last)) >= 9)
            if enough and self._take_nearest(said, start, last):
                return last
        return None

    def _take_nearest(self, said: Sentence, start: int, end: int) -> bool:
        words = said.words(start, end)
        text = " ".join(normal(tuple(words)))
        if len(words) == 1 and (text in self.people.vocabulary or len(text) < 5):
            return False
        match = process.extractOne(
            text, self._texts, scorer=fuzz.ratio, score_cutoff=TITLE_LIKENESS
        )
        if match is None:
            return False
        items = self._titles[tuple(match[0].split())]
        said.take(start, end, [], like=tuple(items), spelt=self.lexicon.prepared.titles[items[0]])
        return True
