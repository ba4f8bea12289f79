"""Tables of the papers' own analyses, made from their JSON alone.

What a file holds stands in its field ``analysis``; a document has the markers of that name.
"""

from collections.abc import Callable, Iterable, Sequence

from ckf_demo.evaluation.table_format import Table, with_half_width, with_interval

Cells = dict[tuple[str, str, str, str], dict]
Format = Callable[[dict | None], str]


def _cells(found: dict) -> tuple[Cells, list[str], list[str]]:
    """Rows by (method, task, metric, group), the methods, and the differences of methods."""
    cells = {(r["method"], r["task"], r["metric"], r["group"]): r for r in found["rows"]}
    methods = list(dict.fromkeys(r["method"] for r in found["rows"]))
    return cells, [m for m in methods if " - " not in m], [m for m in methods if " - " in m]


def _by_group(
    title: str,
    first: str,
    names: Iterable[str],
    cells: Cells,
    task: str,
    metric: str,
    form: Format,
) -> Table:
    """One row per name, one column per group in which anything was measured, and their n."""
    measured = [n for n in names if any(key[:3] == (n, task, metric) for key in cells)]
    own = [key for key in cells if key[0] in measured and key[1:3] == (task, metric)]
    groups = list(dict.fromkeys(key[3] for key in own))
    if not groups:
        return title, [], []
    sizes = [next(str(cells[key]["n"]) for key in own if key[3] == g) for g in groups]
    rows = [[n, *(form(cells.get((n, task, metric, g))) for g in groups)] for n in measured]
    return title, [first, *groups], [["n", *sizes], *rows]


def knowledge_kept(found: dict) -> list[Table]:
    """What a language model lost: plain text and general questions."""
    cells, *_ = _cells(found)
    text = found["text"]
    title = (
        f"{text['passages']} passages ({text['source']}) and {text['questions']} general questions"
    )
    columns = (
        ("text", "nats_per_token", with_half_width),
        ("questions", "accuracy", with_half_width),
        ("questions", "choice_loss", with_half_width),
    )
    rows = []
    for way in found["ways"]:
        name = way["method"]
        row = [way["checkpoint"] or name, way["fusion"] or "–", way["acts"]]
        for task, metric, form in columns:
            row.append(form(cells.get((name, task, metric, "all"))))
            if metric != "choice_loss":
                row.append(with_interval(cells.get((f"{name} - backbone", task, metric, "all"))))
        rows.append(row)
    headings = ["checkpoint", "method", "acts", "nats per token", "change"]
    return [(title, [*headings, "accuracy", "change", "loss of the choice"], rows)]


def sampled(found: dict) -> list[Table]:
    """Hit@1 among few candidates, and the whole catalogue."""
    cells, methods, differences = _cells(found)
    where = f"{found['dataset']}, {found['split']} part"
    by_ctr = [name for name, task in found["asked"].items() if task == "ctr"]
    asked = f"; by CTR: {', '.join(by_ctr)}" if by_ctr else ""
    title = f"Hit@1 among {1 + found['negatives']} films on {where}{asked}"
    columns = (
        ("hit@1", "hit@1"),
        ("ndcg@10", "NDCG@10"),
        ("recall@10", "recall@10"),
        ("candidate_loss", "candidate loss"),
    )
    whole = [
        [name, *(with_half_width(cells.get((name, "ranking", m, "all"))) for m, _ in columns)]
        for name in methods
        if (name, "ranking", "ndcg@10", "all") in cells
    ]
    own = ("sampled", "hit@1")
    return [
        _by_group(title, "method", methods, cells, *own, with_half_width),
        _by_group(f"{title}: differences", "difference", differences, cells, *own, with_interval),
        (f"The whole catalogue on {where}", ["method", *(h for _, h in columns)], whole),
    ]


def cross_domain(found: dict) -> list[Table]:
    """The protocol of `sampled` on items of another domain."""
    cells, methods, differences = _cells(found)
    by_ctr = [name for name, task in found["asked"].items() if task == "ctr"]
    people = next(row["n"] for row in found["rows"] if row["group"] == "all")
    title = (
        f"Trained on {found['trained_on']}, used on {found['dataset']}, {found['split']} part: one "
        f"among {1 + found['negatives']} of {found['items']} titled items, {people} people"
        f"{'; by CTR: ' + ', '.join(by_ctr) if by_ctr else ''}"
    )
    columns = (("hit@1", "hit@1"), ("hit@5", "hit@5"), ("ndcg@5", "NDCG@5"))

    def table(title: str, first: str, names: list[str], form: Format) -> Table:
        rows = [
            [name, *(form(cells.get((name, "sampled", m, "all"))) for m, _ in columns)]
            for name in names
        ]
        return title, [first, *(heading for _, heading in columns)], rows

    return [
        table(title, "method", methods, with_half_width),
        table("Differences", "difference", differences, with_interval),
        _by_group(
            "Hit@1 by length of the history",
            "method",
            methods,
            cells,
            "sampled",
            "hit@1",
            with_half_width,
        ),
    ]


def warmth(found: dict) -> list[Table]:
    """AUC and UAUC by how well item and person are known."""
    cells, methods, differences = _cells(found)
    made = []
    for metric, name in (("auc", "AUC"), ("uauc", "UAUC")):
        title = f"{name} on {found['dataset']} by training interactions of items and users"
        made.append(_by_group(title, "method", methods, cells, "ctr", metric, with_half_width))
        title = f"{name}: differences (95 % interval, paired over users)"
        made.append(
            _by_group(title, "difference", differences, cells, "ctr", metric, with_interval)
        )
    return made


def favourite_genres(found: dict) -> list[Table]:
    """How often a favourite genre is named."""
    cells, methods, differences = _cells(found)
    title = (
        f"Favourite genre among {found['genres']} on {found['dataset']}, {found['split']} part; "
        f"others: people whose favourite is not {found['popular']}"
    )
    own = ("genre", "accuracy")
    return [
        _by_group(title, "asked", methods, cells, *own, with_half_width),
        _by_group("Differences", "difference", differences, cells, *own, with_interval),
    ]


def poisoning(found: dict) -> list[Table]:
    """Share of people with the target in their top ten, and how many fakes that took."""
    rows = {(r["attack"], r["method"], r["fakes"]): r for r in found["rows"]}
    levels = list(dict.fromkeys(r["fakes"] for r in found["rows"]))
    ways = list(dict.fromkeys(key[:2] for key in rows))
    people = found["rows"][0]["n"]
    title = (
        f"{found['dataset']}: share of {people} people with a target in their top ten, mean of "
        f"{len(found['targets'])} targets, by fake people beside {found['real_people']} real ones"
    )
    shares = [
        [f"{method}, {attack}", *(with_half_width(rows.get((attack, method, n))) for n in levels)]
        for attack, method in ways
    ]
    needed = []
    for film, own in zip(
        found["targets"], zip(*found["needed"].values(), strict=True), strict=True
    ):
        counts = ["–" if n is None else str(n) for n in own]
        needed.append([f"{film['title']} ({film['ratings']} ratings)", *counts])
    half = f"Fewest fake people, of {', '.join(map(str, levels))}, that reach half of the people"
    return [
        (title, ["who is asked", *map(str, levels)], shares),
        (half, ["target", *found["needed"]], needed),
    ]


def field(found: dict) -> list[Table]:
    """Language models, then baselines from the best AUC down; what they were fitted with."""
    cells, methods, differences = _cells(found)
    columns = (
        ("rating", "rmse", "all", "RMSE"),
        ("ctr", "auc", "all", "AUC"),
        ("ctr", "uauc", "all", "UAUC"),
        ("ctr", "auc", "accept", "AUC, accepting half"),
        ("ctr", "uauc", "accept", "UAUC, accepting half"),
        ("ctr", "auc", "cold", "AUC, cold"),
        ("ranking", "ndcg@10", "all", "NDCG@10"),
    )
    kept = [c for c in columns if any((m, *c[:3]) in cells for m in methods)]

    def worth(method: str) -> float:
        row = cells.get((method, "ctr", "auc", "all"))
        return -1.0 if row is None else row["value"]

    models = [m for m in methods if m not in found["fitted"]]
    fitted = sorted(found["fitted"], key=worth, reverse=True)
    rows = [
        [method, *(with_half_width(cells.get((method, *c[:3]))) for c in kept)]
        for method in [*sorted(models, key=worth, reverse=True), *fitted]
    ]
    total = sum(known["seconds"] for known in found["fitted"].values())
    searched = [
        [name, f"{found['fitted'][name]['seconds']:.1f}", found["fitted"][name]["settings"] or "–"]
        for name in fitted
    ]
    against = [
        [name, *(with_interval(cells.get((name, *c[:3]))) for c in kept)] for name in differences
    ]
    where = f"{found['dataset']}, {found['split']} part"
    return [
        (f"The field on {where}", ["method", *(c[3] for c in kept)], rows),
        ("Differences (95 % interval, paired over users)", ["", *(c[3] for c in kept)], against),
        (
            f"Baselines: seconds of fitting, {total:.0f} in all, and what was chosen",
            ["method", "seconds", "settings"],
            searched,
        ),
    ]


def given(found: dict) -> list[Table]:
    """How near texts come to given explanations."""
    cells, methods, differences = _cells(found)
    where = f"{found['dataset']}, {found['split']} part"
    columns = (
        ("bleu", "BLEU"),
        ("rouge_1", "ROUGE-1"),
        ("rouge_l", "ROUGE-L"),
        ("similarity", "MiniLM"),
        ("words", "words"),
        ("distinct_1", "distinct-1"),
        ("distinct_2", "distinct-2"),
        ("unique", "unique"),
        ("feature_match", "feature match"),
        ("feature_coverage", "feature coverage"),
        ("features_in_common", "features in common"),
    )
    compared = ("bleu", "rouge_1", "rouge_l", "similarity", "feature_match")
    made = []
    for group, title in (
        ("beside", f"Pairs of {where} that all have texts about"),
        ("all", f"All explained pairs of {where}"),
    ):
        for names, first, form in (
            (methods, "text", with_half_width),
            (differences, "difference", with_interval),
        ):
            shown = [n for n in names if (n, "explanation", "bleu", group) in cells]
            whole = form is with_half_width
            kept = [own for own in columns if whole or own[0] in compared]
            rows = [
                [n, *(form(cells.get((n, "explanation", metric, group))) for metric, _ in kept)]
                for n in shown
            ]
            n = next((cells[m, "explanation", "bleu", group]["n"] for m in shown), 0)
            said = title if first == "text" else "Differences (95 % interval, paired over users)"
            made.append((f"{said}, n = {n}", [first, *(h for _, h in kept)], rows))
    for metric, name in columns[2:4]:
        title = f"{name} by whether the training part explains the item"
        rows = [
            [n, *(with_half_width(cells.get((n, "explanation", metric, g))) for g in _ITEMS)]
            for n in methods
        ]
        made.append((title, ["text", *_ITEMS], rows))
    if "held" in found:
        made += _held(found, where)
    return made


def _held(found: dict, where: str) -> list[Table]:
    """What texts of a checkpoint hold, how good their reader is, and some of them."""
    cells, methods, _ = _cells({"rows": found["held"]})
    moved, removed = _removals(found["held"])
    methods = [name for name in methods if (name, "explanation", moved, "all") not in cells]
    measures = list(dict.fromkeys(key[2] for key in cells if key[0] in methods))
    rows = [
        [metric, *(with_half_width(cells.get((m, "explanation", metric, "all"))) for m in methods)]
        for metric in measures
    ]
    reader = [
        [name, f"{good} of {n}", f"{good / n:.3f}"] for name, (good, n) in found["reader"].items()
    ]
    texts = [[own["title"], own["draft"], own["text"]] for own in found["texts"]]
    return [
        (f"What the texts hold, {where}", ["measure", *methods], rows),
        *removed,
        ("The reader of statements itself", ["measure", "texts", "share"], reader),
        (f"{len(texts)} of them", ["item", "as first written", "as given"], texts),
    ]


def _removals(rows: list[dict]) -> tuple[str, list[Table]]:
    """The metric of what removals move, and its table; none where nothing was removed."""
    moves = [row for row in rows if row["metric"].startswith("moves the ")]
    if not moves:
        return "", []
    made = [
        [row["method"], (with_interval if " - " in row["method"] else with_half_width)(row)]
        for row in moves
    ]
    metric, n = moves[0]["metric"], moves[0]["n"]
    return metric, [
        (
            f"How far a removal {metric.removesuffix(' by')}, {n} pairs",
            ["what is removed", "by"],
            made,
        )
    ]


_ITEMS = "explained item", "other item"


def faithful(found: dict) -> list[Table]:
    """What explanations state, what they cite, how good their reader is, and a hundred of them."""
    cells, _, _ = _cells(found)
    where = f"{found['dataset']}, {found['split']} part"
    moved, removed = _removals(found["rows"])
    said = [
        [key[2], with_half_width(row), str(row["n"])]
        for key, row in cells.items()
        if key[2] != moved
    ]
    reader = [
        [name, f"{good} of {n}", f"{good / n:.3f}"] for name, (good, n) in found["reader"].items()
    ]
    texts = [
        [text["user"], text["title"], f"{text['rating']:.2f}", text["text"]]
        for text in found["texts"]
    ]
    return [
        (f"Explanations on {where}", ["measure", "value", "n"], said),
        *removed,
        ("The reader of statements itself", ["measure", "texts", "share"], reader),
        (f"{len(texts)} of them", ["user", "film", "predicted", "explanation"], texts),
    ]


def search(found: dict) -> list[Table]:
    """What was searched with one budget, and what the best setting of each would change."""
    rows = []
    for one in found["searches"]:
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
        f"Loss on validation of the file's own setting and of the best of {found['trials']}, "
        f"{found['steps']} packed sequences each"
    )
    return [(title, ["configuration", "own", "best", "what that changes", "minutes"], rows)]


ANALYSES: dict[str, Callable[[dict], Sequence[Table]]] = {
    "knowledge_kept": knowledge_kept,
    "sampled": sampled,
    "cross_domain": cross_domain,
    "warmth": warmth,
    "favourite_genres": favourite_genres,
    "poisoning": poisoning,
    "field": field,
    "given": given,
    "faithful": faithful,
    "search": search,
}
