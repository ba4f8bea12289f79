"""Tables of the papers' own analyses, made from their JSON alone.

The field ``analysis`` of a results file names its function in `ANALYSES`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ckf_demo.evaluation.table_format import (
    Column,
    ResultTables,
    Table,
    with_half_width,
    with_interval,
)

DIFFERENCES = "Differences (95 % interval, paired over users)"


def part(results: dict) -> str:
    """The data set and its part in words."""
    return f"{results['dataset']}, {results['split']} part"


def by_ctr(results: dict) -> str:
    """Which checkpoints scored the candidates by CTR, at the end of a title."""
    names = [name for name, task in results["asked"].items() if task == "ctr"]
    return f"; by CTR: {', '.join(names)}" if names else ""


def forgetting(results: dict) -> list[Table]:
    """What a language model lost: plain text and general questions."""
    cells, text = ResultTables(results["rows"]).cells, results["text"]
    title = (
        f"{text['passages']} passages ({text['source']}) and {text['questions']} general questions"
    )
    rows = []
    for way in results["ways"]:
        name = way["method"]
        row = [way["checkpoint"] or name, way["fusion"] or "–", way["acts"]]
        for task, metric in (
            ("text", "nats_per_token"),
            ("questions", "accuracy"),
            ("questions", "choice_loss"),
        ):
            row.append(with_half_width(cells.get((name, task, metric, "all"))))
            if metric != "choice_loss":
                row.append(with_interval(cells.get((f"{name} - backbone", task, metric, "all"))))
        rows.append(row)
    headings = ["checkpoint", "method", "acts", "nats per token", "change"]
    return [(title, [*headings, "accuracy", "change", "loss of the choice"], rows)]


def sampled_ranking(results: dict) -> list[Table]:
    """Hit@1 among few candidates, and the whole catalogue."""
    made = ResultTables(results["rows"])
    title = f"Hit@1 among {1 + results['negatives']} films on {part(results)}{by_ctr(results)}"
    columns = [
        ("ranking", "hit@1", "all", "hit@1"),
        ("ranking", "ndcg@10", "all", "NDCG@10"),
        ("ranking", "recall@10", "all", "recall@10"),
        ("ranking", "candidate_loss", "all", "candidate loss"),
    ]
    return [
        made.by_group(title, made.methods, "sampled", "hit@1"),
        made.by_group(
            f"{title}: differences",
            made.differences,
            "sampled",
            "hit@1",
            with_interval,
            "difference",
        ),
        made.by_metric(f"The whole catalogue on {part(results)}", made.methods, columns),
    ]


def cross_domain(results: dict) -> list[Table]:
    """The protocol of `sampled_ranking` on items of another domain."""
    made = ResultTables(results["rows"])
    people = next(row["n"] for row in results["rows"] if row["group"] == "all")
    title = (
        f"Trained on {results['trained_on']}, used on {part(results)}: one "
        f"among {1 + results['negatives']} of {results['items']} titled items, {people} people"
        f"{by_ctr(results)}"
    )
    columns = [
        ("sampled", "hit@1", "all", "hit@1"),
        ("sampled", "hit@5", "all", "hit@5"),
        ("sampled", "ndcg@5", "all", "NDCG@5"),
    ]
    return [
        made.by_metric(title, made.methods, columns),
        made.by_metric("Differences", made.differences, columns, with_interval, "difference"),
        made.by_group("Hit@1 by length of the history", made.methods, "sampled", "hit@1"),
    ]


def popularity_strata(results: dict) -> list[Table]:
    """AUC and UAUC by how many training interactions item and user have."""
    made, tables = ResultTables(results["rows"]), []
    for metric, name in (("auc", "AUC"), ("uauc", "UAUC")):
        title = f"{name} on {results['dataset']} by training interactions of items and users"
        tables.append(made.by_group(title, made.methods, "ctr", metric))
        title = f"{name}: differences (95 % interval, paired over users)"
        tables.append(
            made.by_group(title, made.differences, "ctr", metric, with_interval, "difference")
        )
    return tables


def favourite_genres(results: dict) -> list[Table]:
    """How often a favourite genre is named."""
    made = ResultTables(results["rows"])
    title = (
        f"Favourite genre among {results['genres']} on {part(results)}; "
        f"others: people whose favourite is not {results['popular']}"
    )
    measured = "genre", "accuracy"
    return [
        made.by_group(title, made.methods, *measured, first="asked"),
        made.by_group("Differences", made.differences, *measured, with_interval, "difference"),
    ]


def poisoning(results: dict) -> list[Table]:
    """Share of people with the target in their top ten, and how many fakes that took."""
    rows = {(r["attack"], r["method"], r["fakes"]): r for r in results["rows"]}
    levels = list(dict.fromkeys(r["fakes"] for r in results["rows"]))
    ways = list(dict.fromkeys(key[:2] for key in rows))
    people = results["rows"][0]["n"]
    title = (
        f"{results['dataset']}: share of {people} people with a target in their top ten, mean of "
        f"{len(results['targets'])} targets, by fake people beside {results['real_people']} "
        "real ones"
    )
    shares = [
        [f"{method}, {attack}", *(with_half_width(rows.get((attack, method, n))) for n in levels)]
        for attack, method in ways
    ]
    needed = []
    for film, levels_of in zip(
        results["targets"], zip(*results["needed"].values(), strict=True), strict=True
    ):
        counts = ["–" if n is None else str(n) for n in levels_of]
        needed.append([f"{film['title']} ({film['ratings']} ratings)", *counts])
    half = f"Fewest fake people, of {', '.join(map(str, levels))}, that reach half of the people"
    return [
        (title, ["who is asked", *map(str, levels)], shares),
        (half, ["target", *results["needed"]], needed),
    ]


def leaderboard(results: dict) -> list[Table]:
    """Language models, then baselines from the best AUC down; what they were fitted with."""
    made, fits = ResultTables(results["rows"]), results["fitted"]
    columns: list[Column] = [
        ("rating", "rmse", "all", "RMSE"),
        ("ctr", "auc", "all", "AUC"),
        ("ctr", "uauc", "all", "UAUC"),
        ("ctr", "auc", "accept", "AUC, accepting half"),
        ("ctr", "uauc", "accept", "UAUC, accepting half"),
        ("ctr", "auc", "cold", "AUC, cold"),
        ("ranking", "ndcg@10", "all", "NDCG@10"),
    ]

    def auc(method: str) -> float:
        row = made.cells.get((method, "ctr", "auc", "all"))
        return -1.0 if row is None else row["value"]

    models = sorted((m for m in made.methods if m not in fits), key=auc, reverse=True)
    fitted = sorted(fits, key=auc, reverse=True)
    total = sum(fit["seconds"] for fit in fits.values())
    settings = [
        [name, f"{fits[name]['seconds']:.1f}", fits[name]["settings"] or "–"] for name in fitted
    ]
    return [
        made.by_metric(f"The field on {part(results)}", [*models, *fitted], columns),
        made.by_metric(DIFFERENCES, made.differences, columns, with_interval, ""),
        (
            f"Baselines: seconds of fitting, {total:.0f} in all, and what was chosen",
            ["method", "seconds", "settings"],
            settings,
        ),
    ]


def reference_explanations(results: dict) -> list[Table]:
    """How near texts come to the reference explanations."""
    made, where = ResultTables(results["rows"]), part(results)
    names = {
        "bleu": "BLEU",
        "rouge_1": "ROUGE-1",
        "rouge_l": "ROUGE-L",
        "similarity": "MiniLM",
        "words": "words",
        "distinct_1": "distinct-1",
        "distinct_2": "distinct-2",
        "unique": "unique",
        "feature_match": "feature match",
        "feature_coverage": "feature coverage",
        "features_in_common": "features in common",
    }
    compared = ("bleu", "rouge_1", "rouge_l", "similarity", "feature_match")
    tables = []
    for group, title in (
        ("beside", f"Pairs of {where} that all have texts about"),
        ("all", f"All explained pairs of {where}"),
    ):
        for labels, first, form, metrics in (
            (made.methods, "text", with_half_width, tuple(names)),
            (made.differences, "difference", with_interval, compared),
        ):
            shown = [n for n in labels if made.has([n], "explanation", "bleu", group)]
            n = made.cells[shown[0], "explanation", "bleu", group]["n"] if shown else 0
            heading = title if first == "text" else DIFFERENCES
            columns = [("explanation", metric, group, names[metric]) for metric in metrics]
            tables.append(made.by_metric(f"{heading}, n = {n}", shown, columns, form, first))
    for metric in ("rouge_l", "similarity"):
        title = f"{names[metric]} by whether the training part explains the item"
        columns = [("explanation", metric, group, group) for group in _ITEMS]
        tables.append(made.by_metric(title, made.methods, columns, first="text"))
    return tables + (_groundedness(results, where) if "held" in results else [])


_ITEMS = "explained item", "other item"


def _groundedness(results: dict, where: str) -> list[Table]:
    """What a checkpoint's texts state, how good the reader of them is, and some of the texts."""
    made = ResultTables(results["held"])
    moved, removed = _removals(results["held"])
    methods = [n for n in made.methods if not made.has([n], "explanation", moved, "all")]
    measures = dict.fromkeys(key[2] for key in made.cells if key[0] in methods)
    rows = [
        [m, *(with_half_width(made.cells.get((n, "explanation", m, "all"))) for n in methods)]
        for m in measures
    ]
    texts = [[text["title"], text["draft"], text["text"]] for text in results["texts"]]
    return [
        (f"What the texts hold, {where}", ["measure", *methods], rows),
        *removed,
        _reader(results),
        (f"{len(texts)} of them", ["item", "as first written", "as given"], texts),
    ]


def _removals(rows: list[dict[str, Any]]) -> tuple[str, list[Table]]:
    """The metric of what removals move, and its table; none where nothing was removed."""
    made = ResultTables(rows)
    moves = {key: row for key, row in made.cells.items() if key[2].startswith("moves the ")}
    if not moves:
        return "", []
    (_, _, metric, _), row = next(iter(moves.items()))
    forms = [
        [name, (with_interval if name in made.differences else with_half_width)(row)]
        for (name, *_), row in moves.items()
    ]
    title = f"How far a removal {metric.removesuffix(' by')}, {row['n']} pairs"
    return metric, [(title, ["what is removed", "by"], forms)]


def _reader(results: dict) -> Table:
    rows = [
        [name, f"{right} of {n}", f"{right / n:.3f}"]
        for name, (right, n) in results["reader"].items()
    ]
    return "The reader of statements itself", ["measure", "texts", "share"], rows


def reasons(results: dict) -> list[Table]:
    """What explanations cite and say, how good their reader is, and a hundred of them."""
    moved, removed = _removals(results["rows"])
    made = ResultTables(results["rows"])
    measured = [
        [metric, group, with_half_width(row), str(row["n"])]
        for (_, _, metric, group), row in made.cells.items()
        if metric != moved
    ]
    texts = [
        [text["user"], text["title"], f"{text['rating']:.2f}", text["text"]]
        for text in results["texts"]
    ]
    return [
        (f"Explanations on {part(results)}", ["measure", "pairs", "value", "n"], measured),
        *removed,
        _reader(results),
        (f"{len(texts)} of them", ["user", "film", "predicted", "explanation"], texts),
    ]


def search(results: dict) -> list[Table]:
    """What was searched with one budget, and what the best setting of each would change."""
    rows = []
    for one in results["searches"]:
        own, best = one["rows"][0], one["best"]
        losses = [row["loss"] for row in (own, best)]
        changed = [
            f"{name.removeprefix('train.')} {own['setting'][name]:g} to {value:g}"
            for name, value in best["setting"].items()
            if value != own["setting"][name]
        ]
        rows.append(
            [
                one["name"],
                *("diverged" if loss is None else f"{loss:.4f}" for loss in losses),
                ", ".join(changed) or "nothing",
                f"{sum(row['minutes'] for row in one['rows']):.0f}",
            ]
        )
    title = (
        f"Loss on validation of the file's own setting and of the best of {results['trials']}, "
        f"{results['steps']} packed sequences each"
    )
    return [(title, ["configuration", "own", "best", "what that changes", "minutes"], rows)]


def words(results: dict) -> list[Table]:
    """Control by sentences, newcomers in words, stars and likes with and without words."""
    made, where = ResultTables(results["rows"]), part(results)
    asked: list[Column] = [
        ("ranking", metric, "words", metric.replace("ndcg", "NDCG"))
        for metric in ("ndcg@10", "recall@50", "ndcg@10 of 50")
    ]
    people = max((row["n"] for key, row in made.cells.items() if key[1] == "ranking"), default=0)
    tables = [
        made.by_group(f"{title} on {where}, by kind of sentence", made.methods, "control", metric)
        for metric, title in (
            ("fits", "Share of the top ten that fits"),
            ("kept out", "Share of the top ten that the opposite keeps out"),
            ("changed", "Share of the top ten that the opposite changes"),
        )
    ]
    title = f"Newcomers of whom only words are known, {where}, {people} sentences"
    tables += [
        made.by_metric(title, made.methods, asked),
        made.by_metric(DIFFERENCES, made.differences, asked, with_interval, "difference"),
    ]
    for task, metric, name in (("rating", "rmse", "RMSE"), ("ctr", "auc", "AUC")):
        title = f"{name} by shown ratings, {where}"
        tables += [
            made.by_group(title, made.methods, task, metric),
            made.by_group(
                f"{title}: differences", made.differences, task, metric, with_interval, "difference"
            ),
        ]
    strengths = [
        [f"{row['strength']:g}", *(f"{row[name]:.3f}" for name in ("fits", "ndcg@10", "recall@50"))]
        for row in results["strengths"]
    ]
    names = [n for n in made.methods if made.has([n], "control", "fits", "all")]
    sentences = [
        [row["text"], row["kind"], str(row["fitting"]), *(f"{row[name]:.1f}" for name in names)]
        for row in results["sentences"]
    ]
    return [
        *tables,
        (
            f"The candidate stage at each strength of the words, {where}",
            ["strength", "share that fits", "NDCG@10 of newcomers", "recall@50 of newcomers"],
            strengths,
        ),
        (
            f"Share of the top ten that fits each of {len(sentences)} sentences",
            ["sentence", "kind", "fitting items", *names],
            sentences,
        ),
    ]


ANALYSES: dict[str, Callable[[dict], Sequence[Table]]] = {
    "knowledge_kept": forgetting,
    "sampled": sampled_ranking,
    "cross_domain": cross_domain,
    "warmth": popularity_strata,
    "favourite_genres": favourite_genres,
    "poisoning": poisoning,
    "field": leaderboard,
    "given": reference_explanations,
    "reasons": reasons,
    "search": search,
    "words": words,
}
"""By the field ``analysis`` of stored results, whose values are older than the modules' names."""
