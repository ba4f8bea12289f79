"""Made-up results of what words do, as `ckf_demo.lab.words` writes them."""

TEXT, WITH, WITHOUT = "text alone", "with words", "without words"


def _row(method: str, task: str, metric: str, group: str, value: float, half: float, n: int):
    first, _, other = method.partition(" - ")
    return {
        "method": method,
        "kind": "difference" if other else "method",
        "first": first if other else "",
        "other": other,
        "task": task,
        "metric": metric,
        "group": group,
        "value": value,
        "low": value - half,
        "high": value + half,
        "n": n,
    }


def words_results() -> dict:
    """Control by two kinds of sentence, newcomers, and likes after 0, 1 and 3 ratings."""
    control = {
        TEXT: {"all": 0.6, "genre": 0.5, "years": 0.7},
        WITH: {"all": 0.9, "genre": 0.8, "years": 1.0},
    }
    likes = {WITHOUT: [0.6, 0.65, 0.7], WITH: [0.7, 0.72, 0.74]}
    newcomers = {"popularity": 0.1, TEXT: 0.15, WITH: 0.2, f"{WITH} - popularity": 0.1}
    rows = [
        *(
            _row(method, "control", metric, group, value, 0.1, 2 if group == "all" else 1)
            for metric in ("fits", "kept out", "changed")
            for method, values in control.items()
            for group, value in values.items()
        ),
        *(
            _row(method, "ranking", "ndcg@10", "words", value, 0.02, 30)
            for method, value in newcomers.items()
        ),
        *(
            _row(method, "ctr", "auc", f"k={k}", value, 0.05, 600)
            for method, values in likes.items()
            for k, value in zip((0, 1, 3), values, strict=True)
        ),
        *(_row(f"{WITH} - {WITHOUT}", "ctr", "auc", f"k={k}", 0.05, 0.02, 600) for k in (0, 1, 3)),
    ]
    sentences = [
        {"kind": kind, "text": text, "fitting": fitting}
        | {
            f"{method}{metric}": values[kind]
            for metric in ("", ": kept out", ": changed")
            for method, values in control.items()
        }
        for kind, text, fitting in (("genre", "westerns", 27), ("years", "before <b>1970</b>", 300))
    ]
    strengths = [
        {"strength": x, "fits": x, "ndcg@10": 0.2 - x / 10, "recall@50": 0.3 - x / 10}
        for x in (0.0, 0.3, 1.0)
    ]
    named = {"analysis": "words", "dataset": "made-up", "split": "valid", "checkpoint": "made-up"}
    return named | {"rows": rows, "strengths": strengths, "sentences": sentences}
