"""A benchmark's figures as Markdown tables; `ckf_demo.lab.report` writes them to docs/tables."""

from ckf_demo.collaborative.base import CANDIDATES
from ckf_demo.lab.bench.methods import ROWS
from ckf_demo.lab.bench.profile import PARTS
from ckf_demo.tasks.registry import TASKS

APART = ("growth_", "profile_", "methods_")


def markdown(result: dict) -> str:
    """The machine, all figures but profiles and growth, one row each, then tables of those two."""
    lines = [
        _machine(result),
        "",
        "| figure | median | least | greatest | unit |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    rows = {row["name"]: row for row in result["rows"]}
    for name, row in rows.items():
        if not name.startswith(APART):
            figures = " | ".join(f"{row[key]:.4g}" for key in ("value", "low", "high"))
            lines.append(f"| {name} | {figures} | {row['unit']} |")
    tasks = [t for t in TASKS if f"profile_{t}_seconds" in rows]
    if tasks:
        columns = ("seconds", *PARTS, "python", "gradio_seconds", "vs_matmul_rate")
        lines += ["", f"| task | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
        for task in tasks:
            figures = (f"{rows[f'profile_{task}_{c}']['value']:.3f}" for c in columns)
            lines.append(f"| {task} | {' | '.join(figures)} |")
    sizes = [name.split("_")[1:3] for name in rows if name.startswith("growth_")]
    if sizes:
        lines += ["", "| what grows | size | seconds | megabytes |", "| --- | ---: | ---: | ---: |"]
        for what, size in dict.fromkeys(map(tuple, sizes)):
            seconds, megabytes = (
                rows[f"growth_{what}_{size}_{unit}"]["value"] for unit in ("seconds", "megabytes")
            )
            lines.append(f"| {what} | {size} | {seconds:.3f} | {megabytes:.1f} |")
    return "\n".join(lines)


def methods_markdown(result: dict) -> str:
    """The machine, and one row for each checkpoint: training, rows and rankings."""
    rows = {row["name"]: row for row in result["rows"] if row["name"].startswith("methods_")}
    seconds = [f"rows_{ROWS}", f"ranking_{CANDIDATES}"]
    end = f"_{seconds[0]}_seconds"
    names = [n.removeprefix("methods_").removesuffix(end) for n in rows if n.endswith(end)]
    first = result["checkpoint"]
    lines = [
        _machine(result),
        "",
        f"| checkpoint | minutes of training | seconds for {ROWS} rows | over {first}'s "
        f"| seconds for a ranking of {CANDIDATES} | over {first}'s |",
        f"| --- |{' ---: |' * 5}",
    ]
    for name in names:
        minutes = rows.get(f"methods_{name}_training_minutes")
        cells = ["–" if minutes is None else f"{minutes['value']:.1f}"]
        for what in seconds:
            cells.append(_spread(rows[f"methods_{name}_{what}_seconds"]))
            ratio = rows.get(f"methods_{name}_{what}_vs_{first}")
            cells.append("1" if ratio is None else _spread(ratio))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def scale_markdown(result: dict) -> str:
    """The machine, and a table of what was measured by ways of holding the data."""
    machine, rows = result["machine"], result["rows"]
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        way, _, what = row["name"].partition(": ")
        spread = row["low"] != row["high"]
        figure = _spread(row) if spread else f"{row['value']:.4g}"
        cells.setdefault(f"{what}, {row['unit']}", {})[way] = figure
    ways = list(dict.fromkeys(row["name"].partition(": ")[0] for row in rows))
    lines = [
        f"{result['ratings']:,} ratings, on {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB.",
        "",
        f"| measured | {' | '.join(ways)} |",
        f"| --- |{' ---: |' * len(ways)}",
    ]
    for what, by_way in cells.items():
        lines.append(f"| {what} | {' | '.join(by_way.get(way, '–') for way in ways)} |")
    return "\n".join(lines)


def load_markdown(result: dict) -> str:
    """The machine, then answers by endpoint and by clients, and what errors and memory did."""
    machine, rows = result["machine"], {row["name"]: row for row in result["rows"]}
    # by the endings of names, since the endpoints' own have underscores
    asked = [name.split("_", 2)[1:] for name in rows if name.endswith("_p50")]
    clients = list(dict.fromkeys(int(n) for n, _ in asked))
    endpoints = list(dict.fromkeys(name.removesuffix("_p50") for _, name in asked))
    lines = [
        f"{result['seconds']:.0f} seconds of {clients[-1]} clients, on {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB. Seconds of answers as median / "
        "95 % quantile, and in brackets the latter over that of one client.",
        "",
        f"| endpoint | {' | '.join(_clients(n) for n in clients)} | answers | refusals |",
        f"| --- |{' ---: |' * (len(clients) + 2)}",
    ]
    for endpoint in endpoints:
        cells = []
        for n in clients:
            half, slow, over = (
                rows.get(f"load_{n}_{endpoint}_{end}") for end in ("p50", "p95", "p95_times_idle")
            )
            times = f" ({over['value']:.2g})" if over else ""
            cells.append(
                f"{half['value']:.2g} / {slow['value']:.2g}{times}" if half and slow else "–"
            )
        for kind in ("count", "refused"):
            found = [rows.get(f"load_{n}_{endpoint}_{kind}") for n in clients]
            cells.append(f"{sum(row['value'] for row in found if row):.0f}")
        lines.append(f"| {endpoint.replace('_', ' ')} | {' | '.join(cells)} |")
    lines += [
        "",
        "| clients | errors | memory, MB (least to greatest) | spread of medians | hung up |",
        "| --- |" + " ---: |" * 4,
    ]
    for n in clients:
        memory = rows[f"load_{n}_memory"]
        lines.append(
            f"| {n} | {rows[f'load_{n}_errors']['value']:.0f} | {memory['value']:,.0f} "
            f"({memory['low']:,.0f} to {memory['high']:,.0f}) "
            f"| {rows[f'load_{n}_memory_spread']['value']:.1%} "
            f"| {rows[f'load_{n}_hung_up']['value']:.0f} |"
        )
    freed = {name: row for name, row in rows.items() if name.startswith("hang_up_")}
    lines += ["", "| hung up on | seconds until the model is free |", "| --- | ---: |"]
    lines += [f"| {name[len('hang_up_') :]} | {_spread(row)} |" for name, row in freed.items()]
    return "\n".join(lines)


def _clients(n: int) -> str:
    return "1 client" if n == 1 else f"{n} clients"


def _spread(row: dict) -> str:
    return f"{row['value']:.3g} ({row['low']:.3g} to {row['high']:.3g})"


def _machine(result: dict) -> str:
    machine = result["machine"]
    bf16 = ", ".join(machine["bf16_instructions"]) or "none"
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    return (
        f"Measured on {machine['processor']}, {machine['threads']} threads, "
        f"{machine['memory_gib']} GiB; instructions for bf16: {bf16}; weights held as "
        f"`{machine['quantization']}`; {versions}. Medians of {result['rounds']} rounds, with the "
        "least and the greatest."
    )
