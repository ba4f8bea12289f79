"""Texts beside given explanations: a system's, ours, and what anybody could say.

    ckf prepare --dataset xrec-yelp --data DIR
    python -m ckf_demo.lab.reference_explanations --dataset xrec-yelp --split test \\
        --checkpoint checkpoints/xrec-yelp --texts DIR/xrec-predictions-test.jsonl \\
        --json ckf_demo/lab/results/reference-explanations-xrec-yelp.json

Every explained pair of the part has a given explanation, which is the reference; of a review it is
the sentence that explanations are learnt from. A file of texts has one JSON object a line: ``uid``,
``iid`` and the texts of one or more systems by name. A checkpoint's texts are measured as they are
first written, as they are given after the check against the data, and where its data have
summaries, with these as well; those of a checkpoint that learnt to explain alone
(``--single-task``) as they are first written. ``--removals`` asks whether what is cited matters to
the answer. The baselines are texts of the training part (`RIVALS`): a system that writes about a
pair should come nearer to the reference than these.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ckf_demo.collaborative.base import Rows
from ckf_demo.collaborative.implicit_mf import ImplicitMF
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import TRAIN
from ckf_demo.evaluation.base import split_part
from ckf_demo.lab import report
from ckf_demo.lab.commands import Json, Split, one_line_errors
from ckf_demo.lab.features import Features
from ckf_demo.lab.groundedness import FIRST, CheckpointTexts
from ckf_demo.lab.overlap import OVERLAP, embedded
from ckf_demo.metrics import bootstrap
from ckf_demo.metrics.metrics import distinct, unique_share
from ckf_demo.metrics.results import Results
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, write_json
from ckf_demo.tasks.explanations.evidence import TextEvidence

ANALYSIS = "given"
REFERENCE = "explanation"
"""Field of a file of texts that is left out: the given explanation."""

SIZE, REGULARIZATION, WEIGHT, EPOCHS, SEED = 32, 1.0, 10.0, 15, 0
"""Of the factors by which items are chosen together; not searched."""

GIVEN_TEXT = "the given texts"
EVERYBODY, BESIDE, KNOWN, NEW = "all", "beside", "explained item", "other item"
"""Groups: all pairs; those that the files have texts for; pairs whose item has, or has not, an
explanation in the training part."""


@dataclass(frozen=True)
class ExplainedPairs:
    """Explained pairs: ``texts`` by interaction, ``learnt`` those of the training part.

    ``learnt`` and ``asked`` are interactions (int64), in the order of the data.
    """

    prepared: Prepared
    texts: dict[int, str]
    learnt: np.ndarray
    asked: np.ndarray

    @classmethod
    def load(cls, dataset: str, split: str) -> "ExplainedPairs":
        """Of a prepared data set.

        Raises
        ------
        UserError
            When no interaction of the part, or of the training part, has a text.
        """
        prepared = Prepared.load(prepared_path(dataset))
        writings = TextEvidence(prepared)
        parts = {}
        for name, number in (("train", TRAIN), (split, split_part(split))):
            parts[name] = np.flatnonzero(prepared.written & (prepared.split == number))
            if not len(parts[name]):
                raise UserError(
                    f"No interaction of the {name} part of '{dataset}' has a text; name a data set "
                    "with explanations, such as xrec-yelp."
                )
        rows = np.concatenate([parts["train"], parts[split]]).tolist()
        texts = {row: writings.text(row) for row in rows}
        return cls(prepared, texts, parts["train"], parts[split])

    @property
    def learnt_texts(self) -> list[str]:
        return [self.texts[row] for row in self.learnt.tolist()]


def typical(pairs: ExplainedPairs) -> list[str]:
    """For everybody the training explanation that is nearest to all others (MiniLM)."""
    vectors = embedded(pairs.learnt_texts)
    best = int((vectors @ vectors.mean(axis=0)).argmax())
    return [pairs.learnt_texts[best]] * len(pairs.asked)


def like_titled(pairs: ExplainedPairs) -> list[str]:
    """That of the item whose title is nearest (MiniLM); of several the first."""
    titles = pairs.prepared.titles
    learnt = embedded([titles[i] for i in pairs.prepared.item[pairs.learnt]])
    asked = embedded([titles[i] for i in pairs.prepared.item[pairs.asked]])
    return [pairs.learnt_texts[i] for i in (asked @ learnt.T).argmax(axis=1)]


def chosen_together(pairs: ExplainedPairs) -> list[str]:
    """That of the item which the same people choose: cosine of factors of all training rows.

    It is the item itself where it has an explanation; of several the first is taken. An item that
    has no choice in training is near to none and gets the first of all.
    """
    data = pairs.prepared
    rows = data.rows(split=TRAIN)
    model = ImplicitMF.fit(
        Rows(data.user[rows], data.item[rows], data.rating[rows], data.n_items),
        size=SIZE,
        regularization=REGULARIZATION,
        weight=WEIGHT,
        epochs=EPOCHS,
        seed=SEED,
    )
    norms = np.linalg.norm(model.items, axis=1, keepdims=True)
    table = np.divide(model.items, norms, out=np.zeros_like(model.items), where=norms > 0)
    near = table[data.item[pairs.asked]] @ table[data.item[pairs.learnt]].T
    return [pairs.learnt_texts[i] for i in near.argmax(axis=1)]


RIVALS: dict[str, Callable[[ExplainedPairs], list[str]]] = {
    "the most typical one": typical,
    "of the nearest title": like_titled,
    "of what is chosen together": chosen_together,
}
"""Texts of the training part that are taken for the asked pairs, by name."""


def measure(
    dataset: str,
    split: str,
    texts: list[Path],
    json_path: Path | None = None,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
    checkpoint: Path | None = None,
    size: int | None = None,
    single: Sequence[Path] = (),
    removals: int = 0,
) -> dict:
    """Measure the texts of files, of a checkpoint and of `RIVALS`; written to ``json_path``.

    Metrics are those of `OVERLAP` and ``feature_match``, with ``words`` a text, and over all texts
    of a method together ``distinct_1``, ``distinct_2``, ``unique``, ``feature_coverage`` and
    ``features_in_common`` (`ckf_demo.lab.features`), which have no interval. What a
    checkpoint's texts state is under ``held`` (`ckf_demo.lab.groundedness`), with ``removals``
    pairs whose citations are taken out of the history. ``size`` are so many pairs drawn at random;
    None for all. ``single`` are checkpoints of which only what they first write is measured.

    Raises
    ------
    UserError
        For an unknown split, a data set without explanations, or files that are damaged or have a
        pair that is not explained in the part.
    """
    pairs = ExplainedPairs.load(dataset, split)
    if size is not None and size < len(pairs.asked):
        drawn = np.random.default_rng(seed).choice(pairs.asked, size, replace=False)
        pairs = replace(pairs, asked=np.sort(drawn))
    data, asked = pairs.prepared, pairs.asked
    users = data.user[asked]
    references = [pairs.texts[row] for row in asked.tolist()]
    systems = read_texts(texts, data, asked)
    files = dict(systems)
    held = {}
    if checkpoint is not None:
        # where there are files, the pairs that they all have texts about
        among = _beside(systems, len(asked))
        written = CheckpointTexts.ask(checkpoint, dataset, asked[among])
        for name, texts_of in written.texts.items():
            systems[name] = _spread_texts(texts_of, among)
        places = np.flatnonzero(among).tolist()
        others = {
            name: [texts_of[i] for i in places]
            for name, texts_of in {**files, GIVEN_TEXT: references}.items()
        }
        held = written.measure(resamples, seed, removals, others)
        for folder in single:
            other = CheckpointTexts.ask(folder, dataset, asked[among], summaries=False)
            name = f"CKF-S {'+'.join(other.model.recommender.tasks)}, as first written"
            systems[name] = _spread_texts(other.texts[FIRST], among)
    beside = _beside(systems, len(asked))
    known = np.isin(data.item[asked], data.item[pairs.learnt])
    groups = {EVERYBODY: np.ones(len(asked), dtype=bool), KNOWN: known, NEW: ~known}
    if systems:
        groups[BESIDE] = beside
    results = Results(bootstrap.user_weights(users, data.n_users, resamples, seed))
    features = Features(pairs.learnt_texts)
    for name, texts_of in systems.items():
        place = {BESIDE: beside, KNOWN: beside & known, NEW: beside & ~known}
        _add(results, name, texts_of, references, users, place, features)
    for name, rival in RIVALS.items():
        _add(results, name, list(rival(pairs)), references, users, groups, features)
    names = list(systems)
    for place, name in enumerate(names):
        for other in (*names[:place], *RIVALS):
            results.add_difference(name, other)
    document = {
        "analysis": ANALYSIS,
        "dataset": dataset,
        "split": split,
        "explained_in_training": len(pairs.learnt),
        "features": len(features),
        **({"checkpoint": Path(checkpoint).as_posix()} if checkpoint is not None else {}),
        "rows": results.rows,
        **held,
    }
    write_json(json_path, document)
    return document


def read_texts(paths: list[Path], data: Prepared, asked: np.ndarray) -> dict[str, list[str | None]]:
    """Texts of every system for the asked interactions, None where it has none.

    Raises
    ------
    UserError
        When a line is no object with ``uid``, ``iid`` and texts, or its pair is not asked about.
    """
    place = {
        (data.user_ids[data.user[row]], data.item_ids[data.item[row]]): number
        for number, row in enumerate(asked.tolist())
    }
    systems: dict[str, list[str | None]] = {}
    for path in map(Path, paths):
        if not path.is_file():
            raise UserError(f"{path} is not a file; name one with a JSON object a line.")
        for line, content in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                entry = dict(json.loads(content))
                pair = str(entry.pop("uid")), str(entry.pop("iid"))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{path}, line {line}: no object with uid, iid and texts ({error})."
                ) from error
            if pair not in place:
                raise UserError(
                    f"{path}, line {line}: user {pair[0]} and item {pair[1]} are no explained pair "
                    "of this part; name texts about it."
                )
            for name, text in entry.items():
                if name == REFERENCE:
                    continue
                if not isinstance(text, str) or not text.strip():
                    raise UserError(f"{path}, line {line}: {name!r} is no text.")
                systems.setdefault(name, [None] * len(asked))[place[pair]] = text
    return systems


def _beside(systems: dict[str, list[str | None]], n: int) -> np.ndarray:
    """The places (n,) about which all systems have texts: bool."""
    beside = np.ones(n, dtype=bool)
    for texts in systems.values():
        beside &= np.array([text is not None for text in texts])
    return beside


def _add(
    results: Results,
    name: str,
    texts: list[str | None],
    references: list[str],
    users: np.ndarray,
    groups: dict[str, np.ndarray],
    features: Features,
) -> None:
    """Add what is measured of one method in each group, whose texts must all be there.

    A pair counts for a metric that has a value for it.
    """
    wanted = np.flatnonzero(np.any(list(groups.values()), axis=0))
    present = [text for text in (texts[i] for i in wanted) if text is not None]
    values = {
        metric: _spread(measured(present, [references[i] for i in wanted]), wanted, len(texts))
        for metric, measured in {**OVERLAP, "feature_match": features.match}.items()
    }
    values["words"] = _spread(
        np.array([len(t.split()) for t in present], float), wanted, len(texts)
    )
    for group, mask in groups.items():
        if not mask.any():
            continue
        n = int(mask.sum())
        for metric, whole in values.items():
            kept = mask & ~np.isnan(whole)
            results.add_mean((name, REFERENCE, metric, group), users[kept], whole[kept])
        these = [text for text, kept in zip(texts, mask, strict=True) if kept and text is not None]
        for metric, value in (
            ("distinct_1", distinct(these, 1)),
            ("distinct_2", distinct(these, 2)),
            ("unique", unique_share(these)),
            ("feature_coverage", features.coverage(these)),
            ("features_in_common", features.in_common(these)),
        ):
            results.add((name, REFERENCE, metric, group), value, n)


def _spread_texts(texts: list[str | None], among: np.ndarray) -> list[str | None]:
    """Texts at the places of ``among``, None elsewhere."""
    remaining = iter(texts)
    return [next(remaining) if there else None for there in among]


def _spread(values: np.ndarray, places: np.ndarray, n: int) -> np.ndarray:
    whole = np.full(n, np.nan)
    whole[places] = values
    return whole


@one_line_errors
def main(
    dataset: Annotated[str, typer.Option(help="A prepared data set with explanations.")],
    split: Split = "test",
    texts: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Texts of systems; repeatable.")
    ] = None,
    json_path: Json = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A checkpoint that explains, of these data.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=3, help="Pairs drawn at random; all without it.")
    ] = None,
    single_task: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="A checkpoint that explains alone; repeatable."),
    ] = None,
    removals: Annotated[
        int, typer.Option(min=0, help="Pairs of which what is cited is taken out of the history.")
    ] = 0,
) -> None:
    """How near texts come to given explanations."""
    results = measure(
        dataset,
        split,
        texts or [],
        json_path,
        checkpoint=checkpoint,
        size=size,
        single=single_task or [],
        removals=removals,
    )
    report.show(results)


if __name__ == "__main__":
    typer.run(main)
