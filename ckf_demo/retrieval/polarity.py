"""What a sentence wants and what it rules out."""

from ckf_demo.retrieval.spoken import ENDS, ENGLISH, TURNS, Mention, Sentence, filler_of
from ckf_demo.runtime.assets import asset

_REJECTS = frozenset(
    "hate hates hated dislike dislikes loathe detest detested despise except avoid without of "
    "hasse odio deteste".split()
)
_ACCEPTS = frozenset(
    "love loves loved like likes liked enjoy enjoys enjoyed want wants wanted adore adores".split()
)
_COPULAS = ("is", "was", "are", "were", "ist", "war", "sind", "est", "sont", "es", "son", "seems")
_SUBJECTS = frozenset({"it", "they", "them", "these", "those"})
_RELATIVE = frozenset({"that", "which", "who"})
_PRONOUNS = frozenset("it them one those these that".split())
_MORE = frozenset({"more", "lots", "plenty"})
_JOINS = frozenset({"and", "or", "und", "et", "y"})
_DEGREES = frozenset("too so very overly zu trop muy demasiado".split())


class Polarity:
    """Carries negative words to what they rule out.

    ``filler`` holds the words that say nothing.
    """

    def __init__(self, filler: frozenset[str]):
        words = asset("sentences.toml")["polarity"]
        self._negative, self._neutral = words["negative"], words["neutral"]
        self._tolerant = words["tolerant"]
        self._after = [
            *words["after"],
            *(f"{verb} {word}" for verb in _COPULAS for word in words["after_is"]),
            *(f"{one} {word}" for one in ("it", "them") for word in words["after_is"]),
        ]
        self._foreign = words["foreign"]
        self._positive = frozenset(words["positive"])
        self._subjects = frozenset(asset("sentences.toml")["likeness"]["verb"])
        self._filler = filler

    def mark(self, said: Sentence) -> None:
        """Mark negative words, and take those that only look like one."""
        for _, end in said.phrases(self._tolerant):
            _, last = said.clause(end, ENDS | TURNS | {","})
            said.hide(end, last)
        negative = [*self._negative, *self._foreign.get(said.language, ())]
        self._mark_phrases(said, self._neutral, False)
        self._mark_after(said)
        self._mark_phrases(said, negative, True)

    @staticmethod
    def _mark_phrases(said: Sentence, phrases: list[str], negative: bool) -> None:
        for start, end in said.phrases(phrases):
            said.hide(start, end)
            said.tokens[end - 1].negative = negative

    def _mark_after(self, said: Sentence) -> None:
        """Take what is said against something behind it: "westerns bore me"."""
        for start, end in said.phrases(self._after):
            if said.text(start - 1, start) not in _RELATIVE:
                said.hide(start, end)
                said.against.append(end - 1)

    def apply(self, said: Sentence) -> None:
        """Set for every mention and every free word whether it is wanted."""
        marked = [i for i, token in enumerate(said.tokens) if token.negative]
        self._forward(said)
        for at in sorted({*marked, *said.against}):
            self._backward(said, at)
        # a name stands as a whole on the side where it begins
        for mention in said.mentions:
            for token in said.tokens[mention.start : mention.end]:
                token.negative = not mention.wanted
        self._refer(said)

    def _forward(self, said: Sentence) -> None:
        """Carry each negative word to the end of its part of the sentence."""
        starts = {mention.start: mention for mention in said.mentions}
        inside = {i for m in said.mentions for i in range(m.start, m.end)}
        negative = listing = passed = False
        degree, ends = False, -1
        for i, token in enumerate(said.tokens):
            if degree and i == ends:
                # "not too violent thrillers" are thrillers
                negative = negative and (token.word in _JOINS or token.word == ",")
            if token.negative:
                negative, passed, degree = True, False, token.word in _DEGREES
                listing = token.word in _REJECTS or self._is_verb(said, i + 1)
            elif token.mark and token.word == ",":
                negative = negative and self._list_goes_on(said, i, listing)
            elif token.word in ENDS or (i not in inside and self._turns(said, i, passed)):
                negative = False
            degree = negative and (degree or token.word in _DEGREES)
            if i in starts:
                starts[i].wanted = not (negative or said.text(i - 1, i) == "too")
                ends = starts[i].end
            elif degree and i not in inside and self._says_something(said, i):
                ends = i + 1
            passed = passed or i in inside or self._says_something(said, i)
            token.negative = negative

    def _is_verb(self, said: Sentence, at: int) -> bool:
        return said.text(at, at + 1) in _ACCEPTS | {"stand", "care", "into", "in"}

    def _says_something(self, said: Sentence, at: int) -> bool:
        token = said.tokens[at]
        filler = self._filler | filler_of(said.language)
        return token.free and token.word not in filler and not token.word.isdigit()

    def _turns(self, said: Sentence, at: int, passed: bool) -> bool:
        """Whether a word begins what is wanted; ``passed``: something was ruled out before it."""
        word = said.tokens[at].word
        if word in TURNS or (word in _MORE and said.text(at - 1, at) != "any"):
            return True
        if word == "like" and said.text(at - 1, at) not in self._subjects:
            return False
        # "do not want something sad": nothing has been ruled out yet
        return passed and word in self._positive

    def _list_goes_on(self, said: Sentence, comma: int, listing: bool) -> bool:
        """Whether what follows a comma belongs to a list of what is not wanted."""
        for token in said.tokens[comma + 1 :]:
            if token.negative or token.word in self._positive or token.word in ENDS:
                return False
            if token.word in ("or", "nor", "oder", "ou") or (listing and token.word in _JOINS):
                return True
        return False

    def _backward(self, said: Sentence, at: int) -> None:
        """A negative word that nothing follows rules out what is before it: "horror is not"."""
        bounds = ENDS | TURNS | {","}
        start, end = said.clause(at, bounds)
        mentions = [m for m in said.mentions if start <= m.start < end]
        follows = any(m.start > at for m in mentions)
        if follows or any(self._says_something(said, i) for i in range(at + 1, end)):
            return
        before = [m for m in mentions if m.end <= at]
        if not before:
            self._backward_over_clause(said, start, at)
            return
        between = said.words(before[-1].end, at)
        # "I love westerns and do not ..." speaks of something else
        if _JOINS & set(between) and _ACCEPTS & set(said.words(start, before[0].start)):
            return
        for mention in before:
            mention.wanted = False
        for token in said.tokens[start:at]:
            token.negative = True

    def _backward_over_clause(self, said: Sentence, start: int, at: int) -> None:
        """ "Horror? No thanks." and "but it was boring" speak of what was named before them."""
        words = said.words(start, at + 1)
        alone = all(said.tokens[i].taken for i in range(start, at + 1))
        names = [m.end for m in said.mentions if m.end <= start]
        follows = bool(names) and all(t.mark for t in said.tokens[max(names) : start])
        if (alone and follows) or (at in said.against and _SUBJECTS & set(words)):
            self._set_last(said, start, False)

    def _refer(self, said: Sentence) -> None:
        """A clause such as "but I hated it" speaks of what was named before it."""
        bounds = ENDS | TURNS | _JOINS | {","}
        for at, token in enumerate(said.tokens):
            if token.word not in _ACCEPTS | _REJECTS or token.word == "of":
                continue
            pronoun = at + 1
            while said.text(pronoun, pronoun + 1) in ("all", "both", "really"):
                pronoun += 1
            if said.text(pronoun, pronoun + 1) not in _PRONOUNS:
                continue
            start, end = said.clause(at, bounds)
            rest = range(pronoun + 1, end)
            own = any(start <= m.start < end for m in said.mentions)
            if own or any(said.tokens[i].word not in self._filler | ENGLISH for i in rest):
                continue
            if rest and said.tokens[rest[0]].word in ("to", "when", "if", "is"):
                continue
            is_verb = token.word != "like" or said.text(at - 1, at) in self._subjects | {"not"}
            if is_verb:
                self._set_last(said, start, not token.negative and token.word not in _REJECTS)

    def _set_last(self, said: Sentence, before: int, wanted: bool) -> None:
        """Set the last names before a token, and those that stand next to them."""
        mentions = sorted(
            (m for m in said.mentions if m.end <= before), key=lambda each: -each.start
        )
        for place, mention in enumerate(mentions):
            if place and not self._adjacent(said, mention, mentions[place - 1]):
                return
            mention.wanted = wanted

    @staticmethod
    def _adjacent(said: Sentence, one: Mention, other: Mention) -> bool:
        return set(said.words(one.end, other.start)) <= _JOINS
