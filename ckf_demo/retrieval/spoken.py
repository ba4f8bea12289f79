"""A sentence as it is read: its words and marks, and what has been found among them."""

import re
from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass, field

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from ckf_demo.retrieval.terms import Term, words_of
from ckf_demo.runtime.assets import asset

ENDS = frozenset(";.:!?")
"""Marks that end what a negative word rules out."""

TURNS = frozenset({"but", "unless", "aber", "sondern", "mais", "pero", "sino"})
"""Words that set a clause against the one before."""

ADVERBS = frozenset("really so too very much big huge that quite particularly actually a".split())
"""Words that may stand inside a phrase: "not a big fan of"."""

_COMMON = frozenset(asset("sentences.toml")["filler"]["words"])
_FOREIGN = {
    language: frozenset(words) for language, words in asset("sentences.toml")["foreign"].items()
}
_NOT_FILLER = frozenset(
    "de un con la el en o bill cry fire thin thick system mill sincere serious detail".split()
)
"""Words of the list of stop words that say something, or are of another language."""
ENGLISH = (frozenset(ENGLISH_STOP_WORDS) - _NOT_FILLER) | {
    "d",
    "s",
    "t",
    "m",
    "ll",
    "ve",
    "re",
    "me",
}


@dataclass
class Token:
    """A word or a punctuation mark of the sentence.

    ``shown`` is how it is written; "" for the second part of a word such as "I've". ``capital``
    and ``shouted`` say that it begins with a capital or is all capitals, ``closes`` that it is a
    possessive.
    """

    word: str
    shown: str = ""
    capital: bool = False
    shouted: bool = False
    closes: bool = False
    mark: bool = False
    taken: bool = False
    negative: bool = False

    @property
    def free(self) -> bool:
        """Whether it is a word that nothing has taken."""
        return not (self.mark or self.taken)


@dataclass
class Mention:
    """Terms or items that some tokens name."""

    start: int
    end: int
    terms: list[Term]
    spelt: str = ""
    like: tuple[int, ...] = ()
    wanted: bool = True


@dataclass
class Sentence:
    """Tokens, the mentions among them, and the names and titles that nothing here has.

    ``against`` are the last tokens of what is said against something before them.
    """

    tokens: list[Token]
    language: str = ""
    mentions: list[Mention] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    against: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> "Sentence":
        """The tokens of a text, of which none is taken."""
        tokens = _tokens(text)
        return cls(tokens, _language([token.word for token in tokens if not token.mark]))

    def words(self, start: int, end: int) -> list[str]:
        """The words and marks from ``start`` to before ``end``."""
        return [token.word for token in self.tokens[max(start, 0) : end]]

    def text(self, start: int, end: int) -> str:
        """The words and marks from ``start`` to before ``end``, in one string."""
        return " ".join(self.words(start, end))

    def name(self, start: int, end: int) -> str:
        """The same, with capitals as they were written."""
        return " ".join(token.shown for token in self.tokens[start:end] if token.shown)

    def free(self, start: int, end: int) -> bool:
        """Whether the tokens are there and nothing has taken them."""
        return end <= len(self.tokens) and all(t.free for t in self.tokens[start:end])

    def begins(self, at: int) -> bool:
        """Whether a token is the first of a sentence, where a capital says nothing."""
        return at == 0 or self.tokens[at - 1].word in ENDS or self.tokens[at - 1].word in '()"“”'

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
        """Note that the tokens name something."""
        self.hide(start, end)
        self.mentions.append(Mention(start, end, terms, **more))

    def hide(self, start: int, end: int) -> None:
        """Take tokens that name nothing of the catalogue."""
        for token in self.tokens[start:end]:
            token.taken = True

    def phrases(self, phrases: Iterable[str]) -> Iterable[tuple[int, int]]:
        """Where phrases stand, longest first; adverbs may stand between their words."""
        for phrase in sorted(phrases, key=lambda text: -text.count(" ")):
            words = phrase.split()
            for start in range(len(self.tokens)):
                end = self._phrase_end(start, words)
                if end and self.free(start, end):
                    yield start, end

    def _phrase_end(self, start: int, words: list[str]) -> int:
        """Where a phrase ends that begins at ``start``, or 0."""
        if self.tokens[start].word != words[0]:
            return 0
        at = start + 1
        for word in words[1:]:
            while at < len(self.tokens) and self.tokens[at].word in ADVERBS - {word}:
                at += 1
            if at == len(self.tokens) or self.tokens[at].word != word:
                return 0
            at += 1
        return at

    def clause(self, at: int, bounds: Collection[str]) -> tuple[int, int]:
        """The part of the sentence around a token, from one of the marks or words to the next."""
        start = at
        while start and self.tokens[start - 1].word not in bounds:
            start -= 1
        end = at
        while end < len(self.tokens) and self.tokens[end].word not in bounds:
            end += 1
        return start, end


_SHORTENED = (
    (re.compile(r"\be\. ?g\.|\beg\b\.?", re.I), "for example"),
    (re.compile(r"\betc\.", re.I), "etc"),
    # "Samuel L. Jackson" is one sentence
    (re.compile(r"(?<=[a-z] )([A-HJ-Z])\.(?= [A-Z])"), r"\1"),
    (re.compile(r"\b(mr|mrs|ms|dr|st|vs)\.", re.I), r"\1"),
    (re.compile(r"\b((?:19|20)?\d0)(?:['’]s|ies|er|ern)\b", re.I), r"\1s"),
    (re.compile(r"\b(?:ann[ée]es|a[ñn]os|los) (\d0)\b", re.I), r"\1s"),
)


def _tokens(sentence: str) -> list[Token]:
    if sentence.isupper() and len(sentence.split()) > 2:
        sentence = sentence.lower()
    for pattern, full in _SHORTENED:
        sentence = pattern.sub(full, sentence)
    tokens: list[Token] = []
    for match in re.finditer(r"[^\W_]+(?:['’`´][^\W_]+)*|[,;.:!?()\"“”/&+]", sentence):
        text = match.group()
        if not (text[0].isalnum()):
            joins = text in "/&+"
            word = "or" if text == "/" else "and" if joins else text
            tokens.append(Token(word, text, mark=not joins))
            continue
        # "L'Enfer" and "d'Hitchcock" have their capital behind the article
        capital = text[0].isupper() or bool(re.match(r"[dl]['’][A-Z]", text))
        follows = bool(re.search(r"['’`´][a-z]", text))
        shouted = len(text) > 1 and text.isupper() and text.isalpha()
        words = [
            Token(word, "" if place else text, capital and not (place and follows), shouted)
            for place, word in enumerate(words_of(text))
        ]
        if words and re.search(r"['’`´][sS]$", text):
            words[-1].closes = True
        tokens += words
    return tokens


def _language(words: list[str]) -> str:
    """The language of a sentence by its function words; "" for English."""
    english = sum(word in ENGLISH for word in words)
    # "film", "genre" and "a" are of every language
    telling = [w for w in words if w not in _COMMON and not (len(w) == 1 and w in ENGLISH)]
    counts = {name: sum(word in known for word in telling) for name, known in _FOREIGN.items()}
    name = max(counts, key=lambda each: counts[each])
    return name if counts[name] and counts[name] >= english else ""


def filler_of(language: str) -> frozenset[str]:
    """The words of a language that say nothing about an item."""
    return _FOREIGN.get(language, frozenset())
