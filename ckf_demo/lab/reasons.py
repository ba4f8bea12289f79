"""Do explanations cite what moves the answer, are they true, and do they say something of the film?

    python -m ckf_demo.lab.reasons --checkpoint checkpoints/ml-100k --split valid \\
        --json checkpoints/ml-100k/reasons.json

Half of the pairs are of known users at a moment, half of new people, of whom their last 0, 1, 3 or
10 ratings are known; half of the items are rare. Two items are explained to everybody. What a text
cites is held against the effect of every shown rating, computed with the whole model as on the page
*Why*. `ckf_demo.tasks.explanations.claims` reads the statements; the reader itself is measured on
true texts and on planted falsehoods. A hundred texts are kept for people to judge.
"""

import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.data.prepared import Prepared
from ckf_demo.evaluation.base import progress_bars, split_part
from ckf_demo.evaluation.cached import CachedModel
from ckf_demo.inference import explaining
from ckf_demo.lab import claim_reader as claims
from ckf_demo.lab import report
from ckf_demo.lab.commands import Json, Split, one_line_errors
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.results import Results
from ckf_demo.recommender import DEFAULT_CHECKPOINT, Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import write_json
from ckf_demo.tasks.explanations.grounding import content, stem
from ckf_demo.tasks.explanations.reasons import MIDDLE, Situation

ANALYSIS = "reasons"
PRINTED = 100
"""Texts that are kept."""

PLANTED = 2000
"""Composed leads by which the reader itself is measured."""

CITED, OTHERS = "what is cited", "others of the shown history"
NEW = (0, 1, 3, 10)
"""Known ratings of new people."""
RARE = 20
"""Items with at most so many training ratings are rare."""
GREATEST = 3
TEXT = "explanation"


@dataclass(frozen=True)
class Case:
    """An item for a person, described as `Recommender` takes them, in a group."""

    user: int
    person: dict[str, Any]
    item: str
    group: str


def choose(prepared: Prepared, rows: np.ndarray, size: int, seed: int) -> list[Case]:
    """About ``size`` pairs, two for each person, one of them with a rare item if possible."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(prepared.item[prepared.fit], minlength=prepared.n_items)
    by_user: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        by_user[int(prepared.user[row])].append(int(row))
    cases: list[Case] = []
    users = [user for user, own in by_user.items() if len(own) > 3]
    for place, user in enumerate(rng.permutation(users)):
        own = by_user[int(user)]
        # in the middle of their rows, so that something is known of most
        own = own[len(own) // 2 :]
        first = own[0]
        before, at = prepared.history.before(first), int(prepared.timestamp[first])
        rare = [row for row in own if counts[prepared.item[row]] <= RARE]
        common = [row for row in own if counts[prepared.item[row]] > RARE]
        chosen = [int(rng.choice(part)) for part in (rare, common) if part]
        if len(chosen) < 2:
            chosen = rng.choice(own, 2, replace=False).tolist()
        person: dict[str, Any] = {"user": prepared.user_ids[user], "at": at}
        who = "known"
        if place % 2:
            k, who = NEW[(place // 2) % len(NEW)], "new"
            history = [
                {"item": prepared.item_ids[prepared.item[r]], "rating": float(prepared.rating[r])}
                for r in (before[-k:] if k else ())
            ]
            # something must be known of everybody
            person = {"history": history}
            if not history:
                person["profile"] = _profile(prepared, int(user))
        for row in chosen:
            warmth = "rare" if counts[prepared.item[row]] <= RARE else "common"
            item = prepared.item_ids[prepared.item[row]]
            cases.append(Case(int(user), person, item, f"{who} people, {warmth} films"))
        if len(cases) >= size:
            break
    return cases[:size]


def _profile(prepared: Prepared, user: int) -> dict[str, Any]:
    fields = {
        "age": int(prepared.ages[user]) or None,
        "gender": prepared.genders[user] or None,
        "occupation": prepared.occupations[user] or None,
    }
    return {name: value for name, value in fields.items() if value}


class Observer:
    """Explains cases and measures the explanations; effects are remembered."""

    def __init__(self, model: CachedModel, seed: int):
        self.model, self.recommender, self._seed = model, model.recommender, seed

    def observe(self, case: Case) -> dict:
        """What is said of a case, what its effects are, and which planted falsehoods are caught."""
        recommender = self.recommender
        predictor, method = recommender.predictor, recommender.methods[0]
        began, first = time.perf_counter(), 0.0
        person, target = recommender.person(**case.person), recommender.place(case.item)
        explanation = explaining.begin(predictor, person, target, method)
        for _ in explanation.written(None):
            first = first or time.perf_counter() - began
        seconds = time.perf_counter() - began
        result = explanation.result
        reasons = explanation.background
        assert isinstance(reasons, explaining.Reasons)
        judged = reasons.judge(result["text"])
        return {
            "text": result["text"],
            "rating": result["rating"],
            "causes": result["causes"],
            "effects": self.effects(case),
            "first": first,
            "seconds": seconds,
            "worded": explanation.worded,
            "drafted": bool(explanation.draft),
            "dropped": result["dropped"],
            "true": [sentence.supported for sentence in judged],
            "planted": self._planted(case, result["text"], reasons),
        }

    def effects(self, case: Case) -> dict[str, float]:
        """The effect of each shown rating by the whole model, by item."""

        def removed() -> dict[str, float]:
            what_if = self.recommender.counterfactuals
            *_, last = what_if.leave_one_out(**case.person, item=case.item)
            return {row["item"]: row["effect"] for row in last["without"]}

        return self.model.document(("effects", case.person, case.item), removed)

    def _planted(self, case: Case, text: str, reasons: explaining.Reasons) -> dict[str, bool]:
        """Which falsehoods, planted into a true text, are caught, by their kind."""
        rng = random.Random(f"{self._seed} {case.item} {case.user}")
        caught = {}
        for kind in FALSEHOODS:
            false = falsehood(kind, text, reasons.situation, self.recommender, rng)
            if false is not None:
                caught[kind] = not all(sentence.supported for sentence in reasons.judge(false))
        return caught


FALSEHOODS = (
    "amount",
    "sign",
    "cause",
    "rating",
    "director",
    "actor",
    "genre",
    "theme",
    "story",
    "average",
    "prediction",
)
"""Another amount or sign of an effect, another film of the history as its cause, another rating of
a film, another director, actor, genre, theme or story, another average and prediction."""


def falsehood(
    kind: str, text: str, situation: Situation, recommender: Recommender, rng: random.Random
) -> str | None:
    """The text with one falsehood of a kind; None where it offers no place for it."""
    candidate = situation.candidate
    others = [recommender.film(i) for i in rng.sample(range(len(recommender.item_order)), 40)]
    others = [film for film in others if film.title != candidate.title]
    number = {
        "amount": (r"(?<=[+−])\d\.\d\d|\b\d\.\d\d\b", lambda old: f"{float(old) + 0.11:.2f}"),
        "sign": (r"[+−](?=\d\.\d\d)", lambda old: "−" if old == "+" else "+"),
        "rating": (r"(?<=\ba )[1-5]\b|(?<=\bYour )[1-5]\b", lambda old: str(int(old) % 5 + 1)),
        "average": (r"\d\.\d(?= of 5 on average)", lambda old: f"{(float(old) + 0.7) % 5:.1f}"),
        "prediction": (r"(?<=predicted )\d\.\d", lambda old: f"{float(old) - 0.6:.1f}"),
    }
    if kind in number:
        pattern, change = number[kind]
        return _changed(text, pattern, change, rng)
    if kind == "cause":
        cited = [c.film.title for c in situation.cited.ratings if c.film and c.film.title in text]
        near = {c.film.title for c in situation.cited.ratings if c.film}
        rest = [c.film.title for c in situation.ratings if c.film and c.film.title not in near]
        return text.replace(rng.choice(cited), rng.choice(rest)) if cited and rest else None
    if kind == "story":
        new = next((film.description for film in others if film.description), "")
        there = candidate.description and candidate.description in text
        return text.replace(candidate.description, new) if there and new else None
    if kind == "genre":
        return claims.another_genre(text, candidate, rng)
    if kind == "theme":
        pattern = r"(?<=deal with )[\w' ]+?(?= and|\.|,|;)|(?<=set in )[\w' ]+?(?= and|\.|,|;)"
        return _changed(text, pattern, lambda old: "insects" if "set" not in old else "Hawaii", rng)
    own = candidate.directors if kind == "director" else candidate.actors
    there = [name for name in own if name in text]
    names = [n for film in others for n in (film.directors if kind == "director" else film.actors)]
    names = [name for name in names if name not in candidate.people]
    return text.replace(rng.choice(there), rng.choice(names)) if there and names else None


def _changed(text: str, pattern: str, change, rng: random.Random) -> str | None:
    found = list(re.finditer(pattern, text))
    if not found:
        return None
    place = rng.choice(found)
    return text[: place.start()] + change(place[0]) + text[place.end() :]


def measure(
    checkpoint: Path,
    split: str,
    size: int,
    json_path: Path | None = None,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict:
    """Explain ``size`` pairs and measure what their texts cite and say.

    Returns
    -------
    dict with ``rows`` as `Results` gives them, ``reader`` {name: [how many, of how many]} and
    ``texts`` [{"user", "title", "rating", "text"}].

    Raises
    ------
    UserError
        For an unknown split, or a checkpoint that explains or rates nothing.
    """
    part = split_part(split)
    recommender = Recommender.load(checkpoint, quantization=dense_precision())
    if not {"rating", "explanation"} <= set(recommender.tasks):
        raise UserError(f"{checkpoint} does not rate and explain; name a checkpoint that does.")
    prepared = recommender.prepared
    recommender.warm_up()
    cases = choose(prepared, prepared.rows(split=part), size, seed)
    with progress_bars() as progress:
        bar = progress.add_task("explaining", total=len(cases))
        model = CachedModel(recommender, checkpoint, lambda n: progress.advance(bar, n))
        observer = Observer(model, seed)
        seen = [observer.observe(case) for case in cases]
    users = np.array([case.user for case in cases])
    results = Results(bootstrap.user_weights(users, prepared.n_users, resamples, seed))
    _add_causes(results, cases, seen)
    _add_texts(results, cases, seen)
    document = {
        "analysis": ANALYSIS,
        "dataset": prepared.dataset,
        "split": split,
        "checkpoint": Path(checkpoint).as_posix(),
        "rows": results.rows,
        "reader": _reader(prepared, seen, seed),
        "texts": [_printed(recommender, cases[i], seen[i]) for i in spread(len(cases))],
    }
    write_json(json_path, document)
    return document


def _add_causes(results: Results, cases: Sequence[Case], seen: Sequence[dict]) -> None:
    """Whether cited effects have the verdict's sign, are great, and matter more than others."""
    signs: list[tuple[int, bool]] = []
    great: list[tuple[int, bool]] = []
    moved: list[tuple[int, float, float]] = []
    for case, one in zip(cases, seen, strict=True):
        verdict = 1 if one["rating"] >= MIDDLE else -1
        effects = one["effects"]
        cited = {c["item"]: c["effect"] for c in one["causes"] if c["cited"] and c["item"]}
        for item, said in cited.items():
            # a middling text names the greatest effect on the other side as such
            side = verdict if said * verdict > 0 else -verdict
            towards = sorted(effects, key=lambda item, side=side: -side * effects[item])
            signs.append((case.user, bool(effects[item] * side > 0)))
            great.append((case.user, item in towards[:GREATEST]))
        rest = [abs(effect) for item, effect in effects.items() if item not in cited]
        if cited and rest:
            own = [abs(effects[item]) for item in cited]
            moved.append((case.user, float(np.mean(own)), float(np.mean(rest))))
    for metric, pairs in (
        ("cited effects with the stated sign", signs),
        (f"cited effects among the {GREATEST} greatest", great),
    ):
        users, hits = (np.array(column) for column in zip(*pairs, strict=True))
        results.add_mean(("ckf", TEXT, metric, "all"), users, hits)
    users, own, rest = (np.array(column) for column in zip(*moved, strict=True))
    for label, values in ((CITED, own), (OTHERS, rest)):
        results.add_mean((label, TEXT, "moves the rating by", "all"), users, values)
    results.add_difference(CITED, OTHERS)
    ratio = bootstrap.mean(users, own, results.weights) / bootstrap.mean(
        users, rest, results.weights
    )
    key = "ckf", TEXT, "removal of the cited moves it so many times as much", "all"
    results.add(key, float(own.mean() / rest.mean()), len(own), ratio)


def _add_texts(results: Results, cases: Sequence[Case], seen: Sequence[dict]) -> None:
    """Whether texts are there, true, different and quick."""
    users = np.array([case.user for case in cases])
    groups = Counter(case.group for case in cases)
    for group in ("all", *groups):
        kept = np.array([group in ("all", case.group) for case in cases])
        own = [one for one, keep in zip(seen, kept, strict=True) if keep]
        for metric, hits in (
            ("pairs with an explanation", [bool(one["text"]) for one in own]),
            ("texts without a false statement", [all(one["true"]) for one in own]),
            ("the lead is worded by the language model", [one["worded"] for one in own]),
            ("a rating of the history is cited", [_cites(one) for one in own]),
        ):
            results.add_mean(("ckf", TEXT, metric, group), users[kept], np.array(hits))
    common = []
    for place in range(0, len(cases) - 1, 2):
        if cases[place].person == cases[place + 1].person:
            common.append(shared_content(seen[place]["text"], seen[place + 1]["text"]))
    for metric, value, n in (
        ("content words that two texts share, median", float(np.median(common)), len(common)),
        ("words of a text, median", _median([len(one["text"].split()) for one in seen]), len(seen)),
        ("seconds to the first words, median", _median([o["first"] for o in seen]), len(seen)),
        ("seconds to the first words, 95 %", _most([o["first"] for o in seen]), len(seen)),
        ("seconds to the whole text, median", _median([o["seconds"] for o in seen]), len(seen)),
        ("seconds to the whole text, 95 %", _most([o["seconds"] for o in seen]), len(seen)),
    ):
        results.add(("ckf", TEXT, metric, "all"), value, n)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _most(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.95))


def _cites(one: dict) -> bool:
    return any(cause["cited"] and cause["item"] for cause in one["causes"])


def shared_content(first: str, second: str) -> float:
    """The share of the content words of the shorter text that the other one has too, in 0–1."""
    sets = [
        {stem(word) for word in re.findall(r"[^\W\d_][\w'’]+", text) if content(word)}
        for text in (first, second)
    ]
    return len(sets[0] & sets[1]) / max(1, min(map(len, sets)))


def _reader(prepared: Prepared, seen: Sequence[dict], seed: int) -> dict[str, list[int]]:
    """How many true texts the reader passes and how many planted falsehoods it catches."""
    counts = {
        f"{name} (leads)": list(pair)
        for name, pair in claims.measure(prepared, PLANTED, seed).items()
    }
    counts["true texts passed (whole texts)"] = [sum(all(o["true"]) for o in seen), len(seen)]
    kinds: dict[str, list[bool]] = defaultdict(list)
    for one in seen:
        for kind, caught in one["planted"].items():
            kinds[kind].append(caught)
            kinds["falsehoods"].append(caught)
    for kind, caught in kinds.items():
        counts[f"planted {kind} caught (whole texts)"] = [sum(caught), len(caught)]
    return counts


def add_removals(
    results: Results,
    model: CachedModel,
    rows: np.ndarray,
    answers: Sequence[dict],
    most: int,
    seed: int,
) -> None:
    """Add how far the answer moves without the items that explanations cite, and without others.

    ``answers`` are the explanations of ``rows``; ``most`` of those that cite an item are drawn. The
    metric is ``moves the rating by``, in stars, or for positive-only data ``moves the probability
    by``: absolute values, a mean over the cited items of a pair and one over the others that its
    prompt shows. Pairs without either are left out.
    """
    citing = [place for place, answer in enumerate(answers) if cited(answer)]
    order = np.random.default_rng(seed).permutation(len(citing))[:most]
    users, moved = model.prepared.user[rows], []
    for place in (citing[i] for i in sorted(order)):
        effects, citations = model.removals(int(rows[place])), cited(answers[place])
        by_cited = [abs(x) for item, x in effects.items() if item in citations]
        by_others = [abs(x) for item, x in effects.items() if item not in citations]
        if by_cited and by_others:
            moved.append((users[place], np.mean(by_cited), np.mean(by_others)))
    if not moved:
        return
    what = "rating" if model.prepared.feedback == "ratings" else "probability"
    whose, by_cited, by_others = (np.array(column) for column in zip(*moved, strict=True))
    for label, values in ((CITED, by_cited), (OTHERS, by_others)):
        key = label, TEXT, f"moves the {what} by", "all"
        results.add_mean(key, whose.astype(np.int64), values)
    results.add_difference(CITED, OTHERS)


def cited(answer: dict) -> set[str]:
    """Ids of the items that an explanation cites."""
    return {item["item"] for sentence in answer["sentences"] for item in sentence["evidence"]}


def spread(n: int) -> list[int]:
    """`PRINTED` places among ``n``, evenly spread."""
    return np.linspace(0, n - 1, min(PRINTED, n)).astype(int).tolist()


def _printed(recommender: Recommender, case: Case, one: dict) -> dict:
    known = case.person.get("history", [])
    what = "rating" if len(known) == 1 else "ratings"
    who = case.person.get("user") or f"new, {len(known)} {what}"
    title = recommender.film(recommender.place(case.item)).title
    return {"user": who, "title": title, "rating": round(one["rating"], 2), "text": one["text"]}


@one_line_errors
def main(
    checkpoint: Annotated[Path, typer.Option()] = DEFAULT_CHECKPOINT,
    split: Split = "valid",
    size: Annotated[int, typer.Option(min=4, help="Pairs that are explained.")] = 300,
    json_path: Json = None,
) -> None:
    """Whether explanations cite what moves the answer, are true, and differ."""
    report.show(measure(checkpoint, split, size, json_path))


if __name__ == "__main__":
    typer.run(main)
