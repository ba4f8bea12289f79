"""A checkpoint's explanations for data with reviews, and whether the data support them.

`CheckpointTexts.ask` gets a checkpoint's texts, each as first written, as given, and with
summaries. `CheckpointTexts.measure` reads them: how many statements the data support
(`tasks.explanations.grounding`), how many texts were written again or lost a sentence, how often
sentences repeat, and whether a text picks its own user out of ten by what these wrote before, or by
summaries of them. The reader of statements itself is measured on texts that are true by
construction, and on falsehoods that are planted into them (`PLANTS`).
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.data.prepared import Prepared
from ckf_demo.evaluation.base import progress_bars
from ckf_demo.evaluation.cached import CachedModel
from ckf_demo.lab.overlap import embedded
from ckf_demo.lab.reasons import add_removals, spread
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.metrics import unique_share
from ckf_demo.metrics.results import Results
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.explanations.evidence import UNNAMED, Evidence, TextEvidence
from ckf_demo.tasks.explanations.grounding import FIRST_PERSON, Reader, content, stem, tokens
from ckf_demo.tasks.explanations.sentiment import polarity

FIRST, GIVEN, SUMMED = "CKF as first written", "CKF", "CKF with summaries"
READERS = 10
"""Users among whom a text has to pick its own one."""
WRITTEN, SUMMARISED = "by what they wrote", "by summaries of people"


@dataclass(frozen=True)
class CheckpointTexts:
    """Explanations of interactions ``rows`` by a ``model``.

    ``answers`` are those of `CachedModel.explanation`, ``summed`` those with summaries where the
    data have any and they were asked for.
    """

    model: CachedModel
    rows: np.ndarray
    answers: list[dict]
    summed: list[dict]

    @classmethod
    def ask(
        cls, checkpoint: Path, dataset: str, rows: np.ndarray, *, summaries: bool = True
    ) -> "CheckpointTexts":
        """Ask a checkpoint, and with ``summaries`` once more where the data have any.

        Raises
        ------
        UserError
            When it belongs to other data or does not explain.
        """
        recommender = Recommender.load(checkpoint, quantization=dense_precision())
        prepared = recommender.prepared
        if prepared.dataset != dataset or "explanation" not in recommender.tasks:
            raise UserError(
                f"{checkpoint} explains nothing of {dataset}; name a checkpoint that does."
            )
        again = bool(summaries and prepared.about_items)
        with progress_bars() as progress:
            bar = progress.add_task("explaining", total=(1 + again) * len(rows))
            model = CachedModel(recommender, checkpoint, lambda n: progress.advance(bar, n))
            answers = [model.explanation(int(row)) for row in rows]
            summed = []
            if again:
                summed = [model.explanation(int(row), summaries=True) for row in rows]
            model.advance = lambda n: None
        return cls(model, rows, answers, summed)

    @property
    def prepared(self) -> Prepared:
        return self.model.prepared

    @property
    def texts(self) -> dict[str, list[str | None]]:
        """By name of the method, in the order of the rows."""
        texts = {
            FIRST: [answer["draft"] for answer in self.answers],
            GIVEN: [answer["text"] for answer in self.answers],
        }
        if self.summed:
            texts[SUMMED] = [answer["text"] for answer in self.summed]
        return {name: [text or None for text in given] for name, given in texts.items()}

    @cached_property
    def writings(self) -> TextEvidence:
        return TextEvidence(self.prepared)

    def reader(self, row: int, evidence: Evidence) -> Reader:
        """The reader that compares texts about an interaction's item with the evidence."""
        title = self.prepared.titles[self.prepared.item[row]]
        return Reader(title, evidence, {c.title: c.people for c in reversed(evidence.together)}.get)

    def evidence(
        self, row: int, *, stars: float | None = None, summaries: bool = False
    ) -> Evidence:
        """What was known before an interaction, ``stars`` predicted."""
        data = self.prepared
        return self.writings.gather(
            data.item[data.history.before(row)],
            int(data.item[row]),
            stars=stars,
            user=int(data.user[row]),
            before=int(data.timestamp[row]),
            summaries=summaries,
        )

    def measure(
        self,
        resamples: int,
        seed: int,
        removals: int = 0,
        others: Mapping[str, Sequence[str]] | None = None,
    ) -> dict:
        """Measure what the texts state, and the reader itself.

        ``held`` has rows as `Results` gives them, ``reader`` {name: [how many, of how many]} and
        ``texts`` a hundred of the texts for people to judge. Cited items are taken out of the
        history for ``removals`` pairs at most (`ckf_demo.lab.reasons.add_removals`). ``others``
        are texts of other systems about the same pairs; whether they pick their user is measured.
        """
        data, users = self.prepared, self.prepared.user[self.rows]
        results = Results(bootstrap.user_weights(users, data.n_users, resamples, seed))
        for name, answers, key, summaries in (
            (FIRST, self.answers, "draft", False),
            (GIVEN, self.answers, "text", False),
            (SUMMED, self.summed, "text", True),
        ):
            if answers:
                texts = [answer[key] for answer in answers]
                self._add(results, name, texts, answers, summaries, seed)
        for name, texts in (others or {}).items():
            self._add_picked(results, name, list(texts), seed)
        add_removals(results, self.model, self.rows, self.answers, removals, seed)
        rng = random.Random(seed)
        return {
            "held": results.rows,
            "reader": {name: list(counts) for name, counts in self.measure_reader(rng).items()},
            "texts": self._printed(),
        }

    def _add(
        self,
        results: Results,
        name: str,
        texts: list[str],
        answers: list[dict],
        summaries: bool,
        seed: int,
    ) -> None:
        data = self.prepared
        users = data.user[self.rows]
        people, holds, sentences, whole = [], [], [], []
        for row, text, answer in zip(self.rows, texts, answers, strict=True):
            evidence = self.evidence(int(row), stars=answer["rating"], summaries=summaries)
            read = self.reader(int(row), evidence).read(text)
            supported = [claim.supported for sentence in read for claim in sentence.statements]
            people += [data.user[row]] * len(supported)
            holds += supported
            whole.append(all(supported))
            sentences += [sentence.text for sentence in read]
        shares = [
            ("supported statements", np.array(people, np.int64), np.array(holds)),
            ("texts without an unsupported statement", users, np.array(whole)),
        ]
        if name != FIRST:
            shares.append(("nothing is said", users, np.array([not text for text in texts])))
            for key, label in (
                ("regenerated", "a sentence was written once more"),
                ("dropped", "a sentence was left out"),
            ):
                shares.append((label, users, np.array([answer[key] > 0 for answer in answers])))
        if data.feedback == "ratings":
            tone = ["positive" if polarity(text) == "positive" else "other" for text in texts]
            wanted = np.where(data.liked[self.rows], "positive", "other")
            shares.append(("tone agrees with the rating", users, np.array(tone) == wanted))
        for metric, of, hits in shares:
            results.add_mean((name, "explanation", metric, "all"), of, hits)
        self._add_picked(results, name, texts, seed)
        for metric, parts in (("unique texts", texts), ("unique sentences", sentences)):
            results.add((name, "explanation", metric, "all"), unique_share(parts), len(parts))

    def _add_picked(self, results: Results, name: str, texts: list[str], seed: int) -> None:
        """Add whether each text is nearer (MiniLM) to its own user's texts than to nine others'.

        Nothing is added where no user has any text.
        """
        users = self.prepared.user[self.rows]
        centres, by = self.known_people
        rng = np.random.default_rng(seed)
        among = np.flatnonzero(np.isin(users, list(centres)))
        if not len(among):
            return
        people, vectors = np.array(sorted(centres)), embedded(texts)
        hits = []
        for place in among.tolist():
            user = int(users[place])
            others = rng.choice(people[people != user], READERS - 1, replace=False)
            near = [float(vectors[place] @ centres[int(u)]) for u in (user, *others)]
            hits.append(int(np.argmax(near)) == 0)
        metric = f"picks its reader of {READERS}, {by}"
        results.add_mean((name, "explanation", metric, "all"), users[among], np.array(hits))

    @cached_property
    def known_people(self) -> tuple[dict[int, np.ndarray], str]:
        """Mean MiniLM vector of each user's training texts, by user, and what it is made of.

        Where none of the explained users wrote any, it is the vector of the user's summary, which
        may have seen the reference text.
        """
        data = self.prepared
        wrote = np.flatnonzero(data.written & (data.split == 0))
        if np.isin(data.user[self.rows], data.user[wrote]).any():
            vectors = embedded([self.writings.text(int(row)) for row in wrote])
            whose = data.user[wrote]
            return {int(u): vectors[whose == u].mean(0) for u in np.unique(whose)}, WRITTEN
        if not data.about_users:
            return {}, WRITTEN
        users = sorted(data.about_users)
        vectors = embedded([data.about_users[user] for user in users])
        return dict(zip(users, vectors, strict=True)), SUMMARISED

    def measure_reader(self, rng: random.Random) -> dict[str, tuple[int, int]]:
        """How the reader judges true texts and planted falsehoods, over rows with evidence.

        True by construction are a statement that others wrote about the item, behind an opening,
        and what the data say by themselves (`Evidence.closing`).
        """
        counts: dict[str, list[int]] = {}

        def count(name: str, good: bool) -> None:
            pair = counts.setdefault(name, [0, 0])
            pair[0] += good
            pair[1] += 1

        data = self.prepared
        learnt = np.flatnonzero(data.written & (data.split == 0))
        words = sorted({w for row in learnt for w, _ in tokens(self.writings.text(int(row)))})
        titled = [title for title in data.titles if title]
        rows = np.unique(np.concatenate([self.rows, learnt]))
        for row in rows.tolist():
            evidence = self.evidence(row)
            title = data.titles[data.item[row]] or UNNAMED
            reader = self.reader(row, evidence)

            def passes(text: str, reader: Reader = reader) -> bool:
                return all(sentence.supported for sentence in reader.read(text))

            for text in _true_texts(title, evidence, rng):
                count("true texts passed", passes(text))
                for kind, plant in PLANTS.items():
                    false = plant(text, title, evidence, rng, words, titled)
                    if false is not None:
                        caught = not passes(false)
                        count(f"planted {kind} caught", caught)
                        count("planted falsehoods caught", caught)
        return {name: (good, n) for name, (good, n) in counts.items()}

    def _printed(self) -> list[dict]:
        """Evenly spread texts; quotations of what users wrote are left to the data."""
        data = self.prepared
        return [
            {
                "title": data.titles[data.item[self.rows[i]]],
                "draft": self.answers[i]["draft"],
                "text": re.sub("“[^”]*”", "“…”", self.answers[i]["text"]),
                "regenerated": self.answers[i]["regenerated"],
            }
            for i in spread(len(self.rows))
        ]


def _true_texts(title: str, evidence: Evidence, rng: random.Random) -> list[str]:
    texts = []
    if evidence.of_item:
        reason = rng.choice(evidence.of_item).text.strip(" .!?")
        if not FIRST_PERSON & {word.lower() for word in re.findall(r"[\w'’]+", reason)}:
            texts.append(f"The user would enjoy {title} because {reason[:1].lower()}{reason[1:]}.")
    if closing := evidence.closing(title):
        texts.append(closing)
    return texts


def _words_of(text: str, title: str) -> list[str]:
    """Content words of a text, without those of the title."""
    return [w for w in re.findall(r"[^\W\d_]+", text.replace(title, "")) if content(w)]


def _another_name(text, title, evidence, rng, words, titled) -> str | None:
    """The item under the name of another."""
    if title not in text:
        return None
    known = {w for w, _ in tokens(" ".join([title, *evidence.texts]))}
    others = [t for t in rng.sample(titled, 20) if {w for w, _ in tokens(t)} - known]
    return text.replace(title, others[0]) if others else None


def _another_word(text, title, evidence, rng, words, titled) -> str | None:
    """A word from texts about another item in the place of one about this item."""
    if not text.startswith("The user"):
        return None
    names = [title, *(c.title for c in evidence.together)]
    known = {w for w, _ in tokens(" ".join([*names, *evidence.texts]))}
    stated = _words_of(text, title)
    new = [w for w in rng.sample(words, min(len(words), 50)) if w not in known and len(w) > 3]
    if not stated or not new:
        return None
    return text.replace(rng.choice(stated), new[0], 1)


def _denied(text, title, evidence, rng, words, titled) -> str | None:
    """A word of the statement denied."""
    if not text.startswith("The user"):
        return None
    affirmed = [w for w, denied in tokens(text) if not denied]
    stated = [w for w in _words_of(text, title) if stem(w) in affirmed]
    if not stated:
        return None
    word = rng.choice(stated)
    return text.replace(f" {word}", f" not {word}", 1)


def _another_number(text, title, evidence, rng, words, titled) -> str | None:
    """Another count, or other stars."""
    match = re.match(r"(\d+) people|Somebody who gave it (\d+) ", text)
    if match is None:
        return None
    number = match[1] or match[2]
    other = rng.choice([n for n in (1, 2, 3, 4, 5) if n != int(number)])
    new = int(number) + rng.choice((1, 2, 5, 20)) if match[1] else other
    return text.replace(number, str(new), 1)


def _misquoted(text, title, evidence, rng, words, titled) -> str | None:
    """A word of a quotation left out."""
    match = re.search(r"“(.+)”", text)
    quoted = match[1].split() if match else []
    if match is None or len(quoted) < 3:
        return None
    del quoted[rng.randrange(len(quoted))]
    return text.replace(match[1], " ".join(quoted))


def _other_company(text, title, evidence, rng, words, titled) -> str | None:
    """Another item in the place of one that the same people chose."""
    if not text.split(" ")[0].isdigit():
        return None
    known = {c.title for c in evidence.together} | {title}
    others = [t for t in rng.sample(titled, 5) if t not in known]
    return text.replace(evidence.together[0].title, others[0], 1) if others else None


def _invented(text, title, evidence, rng, words, titled) -> str | None:
    """An unfounded sentence at the end."""
    if not evidence.of_item:
        return None
    return f"{text} It is open {rng.randint(13, 24)} hours and has {rng.randint(2, 9)} awards."


Plant = Callable[[str, str, Evidence, random.Random, list[str], list[str]], str | None]
PLANTS: dict[str, Plant] = {
    "name": _another_name,
    "word": _another_word,
    "denial": _denied,
    "number": _another_number,
    "company": _other_company,
    "invented": _invented,
    "quotation": _misquoted,
}
"""Falsehoods by kind: (text, title, evidence, rng, words, titles) → the text with one, or None
where it offers no place for it."""
