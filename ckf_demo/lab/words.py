"""What words do: control over lists, newcomers who only say what they like, stars and likes.

    python -m ckf_demo.lab.words --checkpoint checkpoints/ml-100k --split valid \\
        --json checkpoints/ml-100k/words.json

*Control*: for the sentences of ``control_sentences.toml``, the share of the top ten that fits, by
a condition on the store's items, and how many of the opposite's top ten do not. *Newcomers*: users
of whom no rating is shown; their words are made from what they liked before the moment, and the
list is held against what they liked later, also at other strengths. *Rows*: stars and likes with
and without these words, at k ratings. All intervals are over users, or over sentences for control.
"""

import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ckf_demo.collaborative.base import CANDIDATES
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import Query, ranking_queries
from ckf_demo.data.splits import TRAIN
from ckf_demo.evaluation.base import progress_bars, split_part
from ckf_demo.inference.people import LEARNT, STRENGTH, Person, nobody
from ckf_demo.lab import report
from ckf_demo.lab.commands import Json, People, Split, one_line_errors
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.protocol import EvalInstances, sample_by_user
from ckf_demo.metrics.results import Results
from ckf_demo.recommender import Recommender
from ckf_demo.retrieval.simulated import NewcomerWords
from ckf_demo.retrieval.texts import standardised
from ckf_demo.runtime.paths import write_json

ANALYSIS = "words"
SENTENCES = Path(__file__).parent / "control_sentences.toml"
TOP = 10
LENGTHS = (0, 1, 3)
SENTENCES_EACH, ROWS = 2, 1000
"""Sentences of one newcomer, and rows that are scored at k ratings above 0."""
STRENGTHS = (0.0, 0.05, LEARNT, 0.2, 0.3, 0.4, STRENGTH, 1.0)

POSITIVES, NEGATIVES = 3, 47
"""Candidates of the protocol of arXiv 2512.13001."""

FULL, AS_LEARNT, TEXT = "with words", "with words as learnt", "text alone"
STAGE, BARE = "candidate stage with words", "without words"
Progress = Callable[[Sequence, str], Iterable]
"""Goes through a sequence and shows, under a name, how far it is."""

Score = Callable[[Person], np.ndarray]
"""Scores of the whole catalogue (I,) for a person."""


@dataclass(frozen=True)
class Control:
    """A sentence, its opposite and the items that fit it: bool (I,)."""

    kind: str
    text: str
    opposite: str
    fits: np.ndarray


def control_sentences(recommender: Recommender) -> list[Control]:
    """The sentences with the items that fit."""
    sentences = []
    for entry in tomllib.loads(SENTENCES.read_text(encoding="utf-8"))["sentence"]:
        found = recommender.store.query(
            f"SELECT id FROM items WHERE {entry['fits']}", limit=recommender.prepared.n_items
        )
        fits = np.isin(recommender.prepared.item_ids, [row[0] for row in found.rows])
        sentences.append(Control(entry["kind"], entry["text"], entry["opposite"], fits))
    return sentences


class Words:
    """Measures a checkpoint; results are added to `results` piece by piece."""

    def __init__(self, recommender: Recommender, split: int, people: int | None, seed: int):
        self.recommender, self.predictor = recommender, recommender.predictor
        self.prepared: Prepared = recommender.prepared
        self.split, self.seed = split, seed
        train = self.prepared.split == TRAIN
        liked = self.prepared.item[train & self.prepared.liked]
        self.popularity = np.bincount(liked, minlength=self.prepared.n_items).astype(np.float64)
        self.queries = ranking_queries(self.prepared, split)[:people]
        self.writer = NewcomerWords(self.predictor.tastes)
        weights = bootstrap.user_weights(
            # Rows have users whose part holds no like, and who are in no query.
            self.prepared.user[self.prepared.rows(split=split)],
            self.prepared.n_users,
            bootstrap.RESAMPLES,
            seed,
        )
        self.results = Results(weights)
        self.sampled = people is not None

    # Control

    def control(self, progress: Progress) -> list[dict]:
        """Each sentence's share by every method; means, also by kind, are added to the results."""
        sentences = control_sentences(self.recommender)
        n = len(sentences)
        weights = bootstrap.user_weights(np.arange(n), n, bootstrap.RESAMPLES, self.seed)
        results = Results(weights)
        methods = self.text_methods() | {STAGE: self.stage, FULL: None}
        rows = []
        for sentence in progress(sentences, "sentences"):
            row = {
                "kind": sentence.kind,
                "text": sentence.text,
                "fitting": int(sentence.fits.sum()),
            }
            for name, score in methods.items():
                top = self.top(sentence.text, score)
                other = self.top(sentence.opposite, score)
                row[name] = float(sentence.fits[top].mean())
                row[f"{name}: kept out"] = float(1 - sentence.fits[other].mean())
                row[f"{name}: changed"] = 1 - len(set(top) & set(other)) / TOP
            rows.append(row)
        places = np.arange(n)
        many = np.array([row["fitting"] >= TOP for row in rows])
        kinds = np.array([row["kind"] for row in rows])
        named = kinds != "nonsense"
        groups = {"all": named} | {kind: kinds == kind for kind in dict.fromkeys(kinds[named])}
        for name in methods:
            for metric, counted in (("", many), (": kept out", named), (": changed", named)):
                values = np.array([row[f"{name}{metric}"] for row in rows])
                label = metric.removeprefix(": ") or "fits"
                for group, members in groups.items():
                    mask = counted & members
                    results.add_mean((name, "control", label, group), places[mask], values[mask])
        self.results.rows += results.rows
        return rows

    @staticmethod
    def _many(sentence: Control) -> bool:
        return bool(sentence.fits.sum() >= TOP)

    def top(self, taste: str, score: Score | None, strength: float = STRENGTH) -> list[int]:
        """The top ten of a sentence, by scores or by the whole system."""
        person = replace(self.person(taste), strength=strength)
        if score is not None:
            return list(np.argsort(-score(person), kind="stable")[:TOP])
        pool = self.predictor.candidates(person, CANDIDATES)
        ordered, _ = self.predictor.rerank(person, pool, self.predictor.methods[0])
        return list(ordered[:TOP])

    def text_methods(self) -> dict[str, Score]:
        """Untrained retrievers that see the words alone."""
        index = self.predictor.tastes.index

        def both(person: Person) -> np.ndarray:
            one, other = index.by_meaning(person.taste), index.by_words(person.taste)
            return standardised(one) + standardised(other)

        return {
            "MiniLM": lambda person: index.by_meaning(person.taste),
            "tf-idf": lambda person: index.by_words(person.taste),
            "MiniLM + tf-idf": both,
            TEXT: self.text,
        }

    def text(self, person: Person) -> np.ndarray:
        """What the sentence asks for, read and matched, without any model of people."""
        match = self.predictor.match(person)
        return self.popularity * 0 if match is None else match.scores

    def stage(self, person: Person) -> np.ndarray:
        """The candidate stage's scores."""
        return self.predictor.catalogue_scores(person)

    # Newcomers

    def newcomers(self, progress: Progress) -> None:
        """Lists for people of whom only words are known."""
        methods: dict[str, Score | None] = {"popularity": lambda person: self.popularity}
        methods |= self.text_methods()
        methods |= {"candidate stage": lambda person: self.stage(nobody())}
        methods |= {
            STAGE: self.stage,
            FULL: None,
            AS_LEARNT: None,
            f"{STAGE} as learnt": self.stage,
        }
        users: list[int] = []
        values: dict[tuple[str, str], list[float]] = {}
        rng = np.random.default_rng(self.seed)
        for query in progress(self.queries, "newcomers"):
            few = self._candidates(query, rng)
            for person in self.people(query, rng):
                users.append(query.user)
                for name, score in methods.items():
                    learnt = "as learnt" in name
                    asked = replace(person, strength=LEARNT) if learnt else person
                    ranked = self._ranked(asked, score, query.seen)
                    relevant = np.unique(query.relevant)
                    self._append(values, name, "ndcg@10", ndcg(ranked[:TOP], relevant))
                    share = np.isin(relevant, ranked[:50]).mean()
                    self._append(values, name, "recall@50", float(share))
                    if few is not None:
                        place = np.argsort(np.where(np.isin(ranked, few), 0, 1), kind="stable")
                        short = ranked[place][: len(few)]
                        value = ndcg(short[:TOP], few[:POSITIVES])
                        self._append(values, name, "ndcg@10 of 50", value)
        for (name, metric), each in values.items():
            whose = np.array(users)
            if len(each) == len(whose):
                self.results.add_mean((name, "ranking", metric, "words"), whose, np.array(each))
        for own in (FULL, AS_LEARNT):
            for name in methods:
                if name != own:
                    self.results.add_difference(own, name)

    def people(self, query: Query, rng: np.random.Generator) -> list[Person]:
        """The query's user as newcomers with different words."""
        liked = query.items[self.prepared.likes(query.ratings)]
        disliked = query.items[query.ratings <= 2]
        texts = [self.writer.sentence(liked, disliked, rng) for _ in range(SENTENCES_EACH)]
        return [self.person(text) for text in dict.fromkeys(texts) if text]

    def _ranked(self, person: Person, score: Score | None, seen: np.ndarray) -> np.ndarray:
        if score is not None:
            scores = score(person).astype(np.float64).copy()
            scores[seen] = -np.inf
            return np.argsort(-scores, kind="stable")
        allowed = ~np.isin(np.arange(self.prepared.n_items), seen)
        pool = self.predictor.candidates(person, CANDIDATES, allowed)
        ordered, _ = self.predictor.rerank(person, pool, self.predictor.methods[0])
        rest = np.argsort(-self.stage(person), kind="stable")
        return np.concatenate([ordered, rest[~np.isin(rest, ordered) & allowed[rest]]])

    def _candidates(self, query: Query, rng: np.random.Generator) -> np.ndarray | None:
        relevant = np.unique(query.relevant)
        if len(relevant) < POSITIVES:
            return None
        others = np.setdiff1d(np.arange(self.prepared.n_items), [*query.seen, *relevant])
        positives = rng.choice(relevant, POSITIVES, replace=False)
        return np.concatenate([positives, rng.choice(others, NEGATIVES, replace=False)])

    @staticmethod
    def _append(values: dict, name: str, metric: str, value: float) -> None:
        values.setdefault((name, metric), []).append(value)

    # Strength

    def strengths(self, progress: Progress) -> list[dict]:
        """What the candidate stage gives at each strength: fit, NDCG@10 and recall@50, with means
        over sentences and newcomers."""
        sentences = [each for each in control_sentences(self.recommender) if self._many(each)]
        rng = np.random.default_rng(self.seed)
        asked = [(query, person) for query in self.queries for person in self.people(query, rng)]
        rows = []
        for strength in progress(STRENGTHS, "strengths"):
            fits = [
                each.fits[self.top(each.text, self.stage, strength)].mean() for each in sentences
            ]
            values = [self._values(query, person, strength) for query, person in asked]
            ndcgs, recalls = np.array(values).T
            rows.append(
                {
                    "strength": strength,
                    "fits": float(np.mean(fits)),
                    "ndcg@10": float(ndcgs.mean()),
                    "recall@50": float(recalls.mean()),
                }
            )
        return rows

    def _values(self, query: Query, person: Person, strength: float) -> tuple[float, float]:
        ranked = self._ranked(replace(person, strength=strength), self.stage, query.seen)
        relevant = np.unique(query.relevant)
        return ndcg(ranked[:TOP], relevant), float(np.isin(relevant, ranked[:50]).mean())

    # Stars and likes

    def rows(self, progress: Progress) -> None:
        """Stars and likes of rows with and without words, at k ratings.

        All rows at k = 0, otherwise a sample. The words of a row are made of what its user liked
        before; rows that are near each other in time share theirs.
        """
        data, rng = self.prepared, np.random.default_rng(self.seed)
        for k in LENGTHS:
            rows = data.rows(split=self.split)
            if k or self.sampled:
                rows = sample_by_user(data, rows, ROWS, self.seed)
            cases = EvalInstances(data, rows)
            answers = {name: np.empty((len(rows), 2)) for name in (BARE, FULL)}
            for places, taste, shown in progress(self._moments(rows, k, rng), f"{k} ratings"):
                targets = [
                    (int(item), self.predictor.methods[0]) for item in data.item[rows[places]]
                ]
                for name, text in ((BARE, ""), (FULL, taste)):
                    person = self.person(text, shown)
                    answered = self.predictor.predictions(person, targets)
                    answers[name][places] = [(a["rating"], a["probability"]) for a in answered]
            everybody = {f"k={k}": np.ones(len(rows), dtype=bool)}
            for name, values in answers.items():
                self.results.add_scores(name, cases, everybody, *values.T)
        self.results.add_difference(FULL, BARE)

    def _moments(
        self, rows: np.ndarray, k: int, rng: np.random.Generator
    ) -> list[tuple[np.ndarray, str, np.ndarray]]:
        """Groups of rows that are asked about at once: places in ``rows``, words, shown rows."""
        data, groups = self.prepared, []
        for user in np.unique(data.user[rows]):
            places = np.flatnonzero(data.user[rows] == user)
            history, lengths = data.history.rows_of(int(user)), data.history.lengths[rows[places]]
            moments = np.unique(lengths)
            for part in np.array_split(moments, min(SENTENCES_EACH, len(moments))):
                taste, _, _ = self.writer.words(history[: part[0]], rng)
                for group in [part] if not k else np.split(part, len(part)):
                    last = int(group[0])
                    shown = history[max(0, last - k) : last] if k else history[:0]
                    groups.append((places[np.isin(lengths, group)], taste, shown))
        return groups

    def person(self, taste: str, shown: np.ndarray | None = None) -> Person:
        """Somebody of whom words and some rows are known."""
        data, people = self.prepared, self.predictor.people
        rows = [] if shown is None else shown
        history = [
            {"item": data.item_ids[data.item[row]], "rating": float(data.rating[row])}
            for row in rows
        ]
        return people.anyone(history=history, taste=taste)


def ndcg(ranked: np.ndarray, relevant: np.ndarray) -> float:
    """NDCG of a list with binary relevance."""
    gains = 1 / np.log2(np.arange(len(ranked)) + 2)
    best = gains[: min(len(relevant), len(ranked))].sum()
    return float(gains[np.isin(ranked, relevant)].sum() / best)


@one_line_errors
def main(
    checkpoint: Annotated[Path, typer.Option(help="A checkpoint's folder.")],
    split: Split = "valid",
    people: People = None,
    seed: int = 0,
    json: Json = None,
) -> None:
    """Measure what words do."""
    recommender = Recommender.load(checkpoint)
    words = Words(recommender, split_part(split), people, seed)
    with progress_bars() as bars:

        def progress(items: Sequence, text: str) -> Iterable:
            return bars.track(items, description=text)

        sentences = words.control(progress)
        words.newcomers(progress)
        strengths = words.strengths(progress)
        words.rows(progress)
    results = {
        "analysis": ANALYSIS,
        "dataset": recommender.prepared.dataset,
        "split": split,
        "checkpoint": checkpoint.name,
        "rows": words.results.rows,
        "strengths": strengths,
        "sentences": sentences,
    }
    if json is not None:
        write_json(json, results)
    report.show(results)


if __name__ == "__main__":
    typer.run(main)
