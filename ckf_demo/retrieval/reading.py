"""What a sentence about a taste asks for, as terms of a `Lexicon` and a remainder.

    reading = Reader(lexicon, vocabulary).read("French comedies from the sixties, no musicals")

Names are matched from the longest to the shortest; misspelt ones by edit distance. A negative word
("no", "without", "hate") reaches to the end of its part of the sentence.
"""

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from rapidfuzz import fuzz, process
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from ckf_demo.retrieval.terms import (
    ACTOR,
    COUNTRY,
    DIRECTOR,
    GENRE,
    LIKENESS,
    THEME,
    YEARS,
    Lexicon,
    Term,
    key_of,
    singular,
    words_of,
)
from ckf_demo.runtime.assets import asset

NAME_LIKENESS, WORD_LIKENESS, TITLE_LIKENESS = 84, 85, 88
"""Least similarity (`rapidfuzz.fuzz.ratio`, 0 to 100) of a misspelt name, word or title."""

LONGEST_NAME, LONGEST_TITLE = 4, 8
"""Words."""

ENDS = frozenset(";.:!?")
"""Marks that end what a negative word rules out."""

BY = {"by", "directed by", "made by"}
"""Words after which a name in small letters is one."""

ENGLISH = frozenset(ENGLISH_STOP_WORDS) | {"d", "s", "t", "m", "ll", "ve", "re"}


@dataclass(frozen=True)
class Wish:
    """One thing that the sentence wants or rules out; any of ``terms`` fulfils it.

    ``words`` are those of the sentence. ``spelt`` is what they were read as where they are
    misspelt. ``like`` are items, by index, whose likes are wanted.
    """

    words: str
    terms: tuple[Term, ...]
    wanted: bool = True
    spelt: str = ""
    like: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of its first term."""
        return self.terms[0].kind if self.terms else LIKENESS

    @property
    def fit(self) -> np.ndarray:
        """How well each item has it: float32 (I,) within 0 and 1."""
        return np.maximum.reduce([term.fit for term in self.terms])

    @property
    def name(self) -> str:
        """What it asks for, in words."""
        names = dict.fromkeys(term.name for term in self.terms if term.kind == self.kind)
        return " or ".join(names) or self.spelt or self.words


@dataclass(frozen=True)
class Reading:
    """A sentence as it was understood.

    Attributes
    ----------
    groups
        What is wanted: every group, and any wish of a group.
    unwanted
        What is ruled out.
    like, unlike
        Items, by index, whose likes are wanted or ruled out.
    remainder, unwanted_remainder
        Words that name no term; their meaning is compared with the items' texts.
    absent
        Names that were asked for and that no item has.
    not_understood
        Words without any meaning here.
    """

    groups: tuple[tuple[Wish, ...], ...] = ()
    unwanted: tuple[Wish, ...] = ()
    like: tuple[Wish, ...] = ()
    unlike: tuple[Wish, ...] = ()
    remainder: str = ""
    unwanted_remainder: str = ""
    absent: tuple[str, ...] = ()
    not_understood: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing of the sentence says anything about items."""
        return self.only_meaning and not (self.remainder or self.unwanted_remainder)

    @property
    def only_meaning(self) -> bool:
        """Whether the sentence names nothing, so that only the meaning of its words is left."""
        return not (self.wishes or self.absent)

    @property
    def wishes(self) -> list[Wish]:
        """Everything that was read as a term or as an item."""
        wanted = [wish for group in self.groups for wish in group]
        return [*wanted, *self.like, *self.unwanted, *self.unlike]


@dataclass
class _Token:
    """A word or a punctuation mark of the sentence."""

    word: str
    capital: bool = False
    mark: bool = False
    taken: bool = False
    negative: bool = False

    @property
    def free(self) -> bool:
        return not (self.mark or self.taken)


@dataclass
class _Mention:
    """Terms that some tokens name."""

    start: int
    end: int
    terms: list[Term]
    spelt: str = ""
    like: tuple[int, ...] = ()
    wanted: bool = True


@dataclass
class _Sentence:
    tokens: list[_Token]
    mentions: list[_Mention] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    def words(self, start: int, end: int) -> list[str]:
        return [token.word for token in self.tokens[start:end]]

    def text(self, start: int, end: int) -> str:
        return " ".join(self.words(start, end))

    def free(self, start: int, end: int) -> bool:
        """Whether the tokens are there and nothing has taken them."""
        return end <= len(self.tokens) and all(t.free for t in self.tokens[start:end])

    def before(self, start: int, phrases: Container[str], longest: int = 3) -> str:
        """The longest of the phrases that ends where ``start`` begins; articles in between."""
        end = start
        while end and self.tokens[end - 1].word in ("the", "a", "an") and end > 1:
            end -= 1
        for length in range(longest, 0, -1):
            if length <= end and self.text(end - length, end) in phrases:
                return self.text(end - length, end)
        return ""

    def take(self, start: int, end: int, terms: list[Term], **more) -> None:
        for token in self.tokens[start:end]:
            token.taken = True
        self.mentions.append(_Mention(start, end, terms, **more))


def _tokens(sentence: str) -> list[_Token]:
    tokens = []
    for match in re.finditer(r"[^\W_]+(?:['’`´][^\W_]+)*|[,;.:!?()\"“”/&+]", sentence):
        text = match.group()
        if not (text[0].isalnum()):
            joins = text in "/&+"
            tokens.append(_Token("or" if text == "/" else "and" if joins else text, mark=not joins))
            continue
        tokens += [_Token(word, text[0].isupper()) for word in words_of(text)]
    return tokens


_DECADES = {
    name: int(decade)
    for decade, names in asset("sentences.toml")["decades"].items()
    for name in names
}
_NAMES = "|".join(_DECADES)
_YEAR = r"(?:1[89]|20)\d\d"
_DECADE = rf"(?:(early|mid|late) )?(?:nineteen )?(?:(?:19)?(\d0)s|({_NAMES}))"
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
        low = 1900 + int(digits)
    elif name:
        low = _DECADES[name]
    else:
        return None
    first, last = {"early": (0, 4), "mid": (3, 6), "late": (5, 9)}.get(part or "", (0, 9))
    return low + first, low + last


class Reader:
    """Reads sentences for one catalogue.

    ``vocabulary`` holds the words whose meaning can be compared with texts.
    """

    def __init__(self, lexicon: Lexicon, vocabulary: Container[str]):
        self.lexicon, self.vocabulary = lexicon, vocabulary
        words = asset("sentences.toml")
        self._joined = {key_of(name): genres for name, genres in words["joined"].items()}
        self._times = {key_of(name): bounds for name, bounds in words["times"].items()}
        self._negative, self._positive = (
            words["polarity"]["negative"],
            words["polarity"]["positive"],
        )
        self._neutral = words["polarity"]["neutral"]
        self._joining = frozenset(words["polarity"]["joining"])
        self._by, self._with = words["people"]["director"], words["people"]["actor"]
        self._like, self._verb = words["likeness"]["before"], frozenset(words["likeness"]["verb"])
        self._languages = words["languages"]["before"]
        self._filler = frozenset(words["filler"]["words"]) | ENGLISH
        self._verbs = frozenset(
            {"love", "loves", "loved", "like", "likes", "liked", "hate", "hates"}
        )

    def read(self, sentence: str) -> Reading:
        """Read a sentence; nothing in it is an error."""
        said = _Sentence(_tokens(sentence))
        self._find_polarity(said)
        self._find_years(said)
        self._find_titles(said)
        self._find_full_names(said)
        self._find_terms(said, range(max(self.lexicon.longest, 3), 1, -1))
        self._find_surnames(said)
        self._find_terms(said, [1])
        self._find_misspelt_title(said)
        self._find_misspelt(said)
        self._set_polarity(said)
        return self._reading(said)

    # Polarity

    def _find_polarity(self, said: _Sentence) -> None:
        """Mark negative words, and take those that only look like one."""
        for phrases, negative in ((self._neutral, False), (self._negative, True)):
            for phrase in sorted(phrases, key=lambda text: -text.count(" ")):
                length = phrase.count(" ") + 1
                for start in range(len(said.tokens) - length + 1):
                    if (
                        said.free(start, start + length)
                        and said.text(start, start + length) == phrase
                    ):
                        for token in said.tokens[start : start + length]:
                            token.taken = True
                        said.tokens[start + length - 1].negative = negative

    def _set_polarity(self, said: _Sentence) -> None:
        """Carry each negative word to the end of its part of the sentence."""
        starts = {mention.start: mention for mention in said.mentions}
        inside = {i for m in said.mentions for i in range(m.start, m.end)}
        negative, verb, since = False, False, 9
        for i, token in enumerate(said.tokens):
            since += 1
            if token.negative:
                negative, since = True, 0
                verb = token.word in {
                    "hate",
                    "hates",
                    "hated",
                    "dislike",
                    "except",
                    "avoid",
                    "without",
                    "of",
                }
            elif token.mark and token.word == ",":
                negative = negative and self._list_goes_on(said, i, verb)
            elif token.word in ENDS or (i not in inside and self._turns(token.word, since)):
                negative = False
            if i in starts:
                starts[i].wanted = not negative
            token.negative = negative
        # a name stands as a whole on the side where it begins
        for mention in said.mentions:
            for token in said.tokens[mention.start : mention.end]:
                token.negative = not mention.wanted

    def _turns(self, word: str, since: int) -> bool:
        """Whether a word, so many behind a negative one, begins what is wanted."""
        # "do not really like": the verb belongs to the negative word
        return word in {"but", "lots", "plenty", "more"} or (word in self._positive and since > 2)

    def _list_goes_on(self, said: _Sentence, comma: int, verb: bool) -> bool:
        """Whether what follows a comma belongs to a list of what is not wanted."""
        for token in said.tokens[comma + 1 :]:
            if token.negative or token.word in self._positive or token.word in ENDS:
                return False
            if token.word in ("or", "nor") or (verb and token.word == "and"):
                return True
        return False

    # Years

    def _find_years(self, said: _Sentence) -> None:
        text, starts = "", []
        for token in said.tokens:
            starts.append(len(text))
            hidden = token.mark or (token.taken and not token.negative)
            text += ("|" if hidden else token.word) + " "

        def take(match: re.Match, low: int | None, high: int | None, name: str) -> None:
            first = next(i for i, at in enumerate(starts) if at >= match.start())
            last = max(i for i, at in enumerate(starts) if at < match.end())
            if said.free(first, last + 1) and not said.before(
                first, {"set in", "about", "setting"}
            ):
                said.take(first, last + 1, [self.lexicon.years(low, high, name)])

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

    # Titles

    def _find_titles(self, said: _Sentence) -> None:
        """Titles after "like" and its kin, titles in capitals, and a title that is all there is."""
        for start in range(len(said.tokens)):
            if self._is_likeness(said, start):
                end = start
                while (match := self._title(said, end, likeness=True)) is not None:
                    end = match
                    following = said.text(end, end + 1)
                    if following not in ("and", "or", ",") or end + 1 >= len(said.tokens):
                        break
                    end += 1
        for start in range(len(said.tokens)):
            self._title(said, start, likeness=False)

    def _is_likeness(self, said: _Sentence, start: int) -> bool:
        phrase = said.before(start, frozenset(self._like), longest=4)
        if phrase != "like":
            return bool(phrase)
        at = max(i for i in range(start) if said.tokens[i].word == "like")
        return at == 0 or said.tokens[at - 1].word not in self._verb

    def _title(self, said: _Sentence, start: int, *, likeness: bool) -> int | None:
        """Take the title that begins at a token; return where it ends, or None."""
        longest = min(LONGEST_TITLE, len(said.tokens) - start)
        content = [i for i, t in enumerate(said.tokens) if not t.mark]
        for length in range(longest, 0, -1):
            end = start + length
            if not said.free(start, end):
                continue
            words = tuple(said.words(start, end))
            if words[0] in ("the", "a", "an") and len(words) > 1:
                words = words[1:]
            items = self.lexicon.titles.get(words)
            named = all(t.capital for t in said.tokens[start:end] if len(t.word) > 3)
            alone = bool(content) and (content[0], content[-1]) == (start, end - 1)
            plain = tuple(map(singular, words)) in self.lexicon.terms
            in_capitals = named and (len(words) > 1 or self._after_verb(said, start))
            if items and (
                (likeness and (named or not plain))
                or (not plain and (alone or (in_capitals and words not in self.lexicon.people)))
            ):
                said.take(start, end, [], like=tuple(items))
                return end
        if likeness and said.tokens[start : start + 1] and said.tokens[start].capital:
            return self._misspelt_title(said, start)
        return None

    def _find_misspelt_title(self, said: _Sentence) -> None:
        """A sentence that names nothing else may be a misspelt title."""
        if not said.mentions and 0 < len(said.tokens) <= LONGEST_TITLE:
            self._misspelt_title(said, 0, whole=True)

    def _after_verb(self, said: _Sentence, start: int) -> bool:
        return bool(
            said.before(
                start, {"love", "loved", "like", "liked", "enjoyed", "adore", "and", "watched"}
            )
        )

    def _misspelt_title(self, said: _Sentence, start: int, whole: bool = False) -> int | None:
        end = start
        while end < len(said.tokens) and said.tokens[end].free and end - start < LONGEST_TITLE:
            if said.tokens[end].word in ("but", "and", "or", "with", "without", "only"):
                break
            end += 1
        titles = [" ".join(key) for key in self.lexicon.titles if len(" ".join(key)) >= 5]
        if whole and end < len(said.tokens):
            return None
        for last in [end] if whole else range(end, start, -1):
            match = process.extractOne(
                said.text(start, last), titles, scorer=fuzz.ratio, score_cutoff=TITLE_LIKENESS
            )
            if match:
                items = self.lexicon.titles[tuple(match[0].split())]
                said.take(
                    start, last, [], like=tuple(items), spelt=self.lexicon.prepared.titles[items[0]]
                )
                return last
        return None

    # People

    def _find_full_names(self, said: _Sentence) -> None:
        for length in range(LONGEST_NAME, 1, -1):
            for start in range(len(said.tokens) - length + 1):
                if said.free(start, start + length):
                    terms = self.lexicon.people.get(tuple(said.words(start, start + length)))
                    if terms:
                        said.take(start, start + length, self._in_role(said, start, terms))

    def _find_surnames(self, said: _Sentence) -> None:
        people = self.lexicon.people
        for start, token in enumerate(said.tokens):
            if not token.free or token.word in self._filler:
                continue
            cue = said.before(start, frozenset([*self._by, *self._with]), longest=3)
            by = bool(cue) and (token.capital or cue in BY)
            named = by or token.capital or self._is_a_name(said, start)
            term = (singular(token.word),) in self.lexicon.terms
            if not named or (term and not cue and (start == 0 or not token.capital)):
                continue
            if token.word in self.lexicon.surnames:
                end = start + 1 + (said.text(start + 1, start + 2) in ("brothers", "sisters"))
                said.take(start, end, self._in_role(said, start, self._of_surname(token.word)))
            elif (token.word,) in people and token.capital:
                said.take(start, start + 1, self._in_role(said, start, people[token.word,]))
            elif by or token.capital:
                self._take_unknown_name(said, start, by)

    def _is_a_name(self, said: _Sentence, start: int) -> bool:
        """Whether a word in small letters is the surname of somebody well represented."""
        word = said.tokens[start].word
        if word not in self.lexicon.surnames or (singular(word),) in self.lexicon.terms:
            return False
        return word not in self.vocabulary and max(t.count for t in self._of_surname(word)) >= 2

    def _of_surname(self, surname: str) -> list[Term]:
        """Terms of the people of that name; of the one with most items where one stands out."""
        counted = sorted(
            (
                (max(t.count for t in self.lexicon.people[key]), key)
                for key in self.lexicon.surnames[surname]
            ),
            reverse=True,
        )
        if len(counted) > 1 and counted[0][0] >= 2 * counted[1][0]:
            counted = counted[:1]
        return [term for _, key in counted for term in self.lexicon.people[key]]

    def _in_role(self, said: _Sentence, start: int, terms: list[Term]) -> list[Term]:
        """Those of a person's terms that the words before the name speak of."""
        by = said.before(start, frozenset(self._by))
        kind = DIRECTOR if by else ACTOR if said.before(start, frozenset(self._with)) else ""
        return [term for term in terms if term.kind == kind] or terms

    def _take_unknown_name(self, said: _Sentence, start: int, by: bool) -> None:
        """A name in capitals or after "by" or "with": misspelt, or of nobody in the catalogue."""
        end = start + 1
        while (
            end < len(said.tokens)
            and said.tokens[end].free
            and said.tokens[end].capital
            and end - start < LONGEST_NAME
        ):
            end += 1
        if not said.tokens[start].capital and said.tokens[start].word in self.vocabulary:
            return
        for last in range(end, start, -1):
            terms, name = self._misspelt_person(said.words(start, last))
            if terms:
                said.take(start, last, self._in_role(said, start, terms), spelt=name)
                return
        if not by:
            return
        name = " ".join(word.capitalize() for word in said.words(start, end))
        said.absent.append(name)
        for token in said.tokens[start:end]:
            token.taken = True

    def _misspelt_person(self, words: list[str]) -> tuple[list[Term], str]:
        """Terms and name of the person whom a misspelt name means."""
        text = " ".join(words)
        if len(text) < 5:
            return [], ""
        if len(words) == 1:
            match = process.extractOne(
                text, self.lexicon.surnames.keys(), scorer=fuzz.ratio, score_cutoff=NAME_LIKENESS
            )
            return (self._of_surname(match[0]), match[0].capitalize()) if match else ([], "")
        names = [" ".join(key) for key in self.lexicon.people]
        match = process.extractOne(text, names, scorer=fuzz.ratio, score_cutoff=NAME_LIKENESS)
        if not match:
            return [], ""
        terms = self.lexicon.people[tuple(match[0].split())]
        return terms, terms[0].name

    # Terms

    def _find_terms(self, said: _Sentence, lengths: Iterable[int]) -> None:
        lexicon = self.lexicon
        for length in lengths:
            for start in range(len(said.tokens) - length + 1):
                end = start + length
                if not said.free(start, end):
                    continue
                key = tuple(singular(word) for word in said.words(start, end))
                if key in self._joined:
                    for genre in self._joined[key]:
                        terms = [t for t in lexicon.terms[key_of(genre)] if t.kind == GENRE]
                        if terms:
                            said.take(start, end, terms)
                elif key in self._times:
                    said.take(start, end, [self._time(said.text(start, end), self._times[key])])
                elif key in lexicon.terms and not self._is_verb(said, start, length):
                    said.take(start, end, self._in_context(said, start, end, lexicon.terms[key]))

    def _time(self, name: str, bounds: dict) -> Term:
        low, before = bounds.get("from"), bounds.get("before")
        if "latest" in bounds:
            low = self.lexicon.latest - bounds["latest"] + 1
        return self.lexicon.years(low, before and before - 1, name)

    def _is_verb(self, said: _Sentence, start: int, length: int) -> bool:
        """Whether a word such as "love" is a verb here and not what the item is about."""
        if length > 1 or said.tokens[start].word not in self._verbs:
            return False
        return not said.before(start, {"about", "of", "on"})

    def _in_context(self, said: _Sentence, start: int, end: int, terms: list[Term]) -> list[Term]:
        """Those of a name's terms that the words around it speak of."""
        word = said.text(start, end)
        if said.before(start, {"set in", "takes place in", "taking place in"}):
            return [term for term in terms if term.kind == THEME] or terms
        if said.before(start, {"from", "made in", "produced in"}):
            return [term for term in terms if term.kind == COUNTRY] or terms
        spoken = said.before(start, frozenset(self._languages)) in ("in", "spoken", "spoken in")
        after = said.text(end, end + 1) in ("language", "speaking", "spoken")
        language = self.lexicon.language(word)
        if language and (spoken or after):
            return [language]
        return terms

    def _find_misspelt(self, said: _Sentence) -> None:
        for start, token in enumerate(said.tokens):
            word = token.word
            if not token.free or len(word) < 5 or word in self._filler or word in self.vocabulary:
                continue
            match = process.extractOne(
                singular(word),
                self.lexicon.single_words,
                scorer=fuzz.ratio,
                score_cutoff=WORD_LIKENESS,
            )
            if match:
                said.take(start, start + 1, self.lexicon.terms[match[0],], spelt=match[0])
                continue
            terms, name = self._misspelt_person([word])
            if terms and max(term.count for term in terms) >= 2:
                said.take(start, start + 1, terms, spelt=name)

    # The whole

    def _reading(self, said: _Sentence) -> Reading:
        groups: list[list[_Mention]] = []
        lists: dict[str, list[Wish]] = {"unwanted": [], "like": [], "unlike": []}
        for mention in sorted(said.mentions, key=lambda each: each.start):
            if mention.like:
                lists["like" if mention.wanted else "unlike"].append(self._wish(said, mention))
            elif not mention.wanted:
                lists["unwanted"].append(self._wish(said, mention))
            elif groups and self._alternative(said, groups[-1][-1], mention):
                groups[-1].append(mention)
            else:
                groups.append([mention])
        rest: tuple[list[str], list[str]] = ([], [])
        strange = []
        for token in said.tokens:
            if not token.free or token.word in self._filler or token.word.isdigit():
                continue
            if token.word in self.vocabulary or singular(token.word) in self.vocabulary:
                rest[token.negative].append(token.word)
            else:
                strange.append(token.word)
        return Reading(
            groups=tuple(tuple(self._wish(said, m) for m in group) for group in groups),
            unwanted=tuple(lists["unwanted"]),
            like=tuple(lists["like"]),
            unlike=tuple(lists["unlike"]),
            remainder=" ".join(rest[0]),
            unwanted_remainder=" ".join(rest[1]),
            absent=tuple(said.absent),
            not_understood=tuple(strange),
        )

    def _wish(self, said: _Sentence, mention: _Mention) -> Wish:
        words = said.text(mention.start, mention.end)
        return Wish(words, tuple(mention.terms), mention.wanted, mention.spelt, mention.like)

    def _alternative(self, said: _Sentence, first: _Mention, second: _Mention) -> bool:
        """Whether two names next to each other are alternatives ("comedies or musicals")."""
        between = said.tokens[first.end : second.start]
        words = {token.word for token in between}
        if not words or not words <= self._joining | self._filler | {","}:
            return False
        kinds = first.terms[0].kind, second.terms[0].kind
        people = {DIRECTOR, ACTOR}
        if kinds[0] != kinds[1] and not set(kinds) <= people:
            return "or" in words
        if kinds[0] == THEME:
            return "or" in words
        return kinds[0] in {GENRE, COUNTRY, YEARS, *people}
