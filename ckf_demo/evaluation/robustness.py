"""One part changed at a time, each trained anew on the same small budget.

    python -m ckf_demo.evaluation.robustness --json checkpoints/collm-ml-1m/robustness.json \\
        assets/configs/ablations/*.toml

trains the base configuration and every variant for equally many sequences, and measures CTR on the
validation users that decide nothing (`Prepared.choosing_users`): the pooled prior would hide what
differs, so it is the language model's own answer that is compared, paired over users. Weights stay
in the user's cache; what is there is not trained again, so that an interrupted run goes on.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.config import RunConfig
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.splits import VALID
from ckf_demo.errors import UserError
from ckf_demo.evaluation import bootstrap, report
from ckf_demo.evaluation.cached import CachedModel
from ckf_demo.evaluation.protocol import Cases, user_groups
from ckf_demo.evaluation.results import Results
from ckf_demo.paths import cache_dir, prepared_path, replacing
from ckf_demo.recommender import Recommender
from ckf_demo.training.loop import Run

VALIDATIONS = 3
"""How often a run looks at validation to choose its weights."""

VALIDATION_SEQUENCES = 60


def shortened(config: RunConfig, steps: int) -> RunConfig:
    """The configuration for ``steps`` sequences, with nothing after the joint stage."""
    train = config.train.model_copy(
        update={
            "steps": steps,
            # few sequences: each counts at once
            "accumulate": 1,
            "select_on": "own",
            "validate_every": max(1, steps // VALIDATIONS),
            "validation_sequences": VALIDATION_SEQUENCES,
            "patience": VALIDATIONS,
        }
    )
    return config.model_copy(update={"train": train})


def trained(config: RunConfig, prepared: Prepared) -> tuple[Path, dict]:
    """The folder of a trained configuration, and what is known of it; trained if it is not there.

    Returns
    -------
    folder, {"parameters": trainable, "rows": that are learnt from, "minutes": of training}
    """
    text = config.model_dump_json() + prepared.training_hash
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = cache_dir() / "robustness" / f"{config.name}-{key}"
    done = folder / "done.json"
    if not done.exists():
        run = Run(config, prepared, folder=folder)
        run.run(stages=False)
        known = {
            "parameters": sum(p.numel() for kind in run.system.trainable().values() for p in kind),
            "rows": int(sum(len(segment.rows) for segment in run.segments)),
            "minutes": round(run.seconds / 60, 1),
        }
        with replacing(done) as temporary:
            temporary.write_text(json.dumps(known) + "\n")
    return folder, json.loads(done.read_text())


def variant_name(config: RunConfig, base: RunConfig) -> str:
    """What a variant's name has beyond the base's."""
    return config.name.removeprefix(f"{base.name}-")


def measure(
    base_path: Path,
    variants: list[Path],
    steps: int,
    json_path: Path | None,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict:
    """Train and measure; written to ``json_path`` after every variant.

    Returns
    -------
    dict of the form that `ckf_demo.evaluation.run.evaluate` gives, with ``steps`` and for each
    method under ``trained`` what `trained` knows of it.

    Raises
    ------
    UserError
        When a variant is for other data than the base, or lacks CTR.
    """
    base = RunConfig.load(base_path)
    configs = [base, *(RunConfig.load(path) for path in variants)]
    for path, config in zip([base_path, *variants], configs, strict=True):
        if config.data != base.data or "ctr" not in config.train.tasks:
            raise UserError(f"{path} must ask for CTR on {base.data.dataset}, as {base_path} does.")
    prepared = Prepared.load(prepared_path(base.data.dataset))
    rows = prepared.rows(split=VALID)
    rows = rows[~prepared.choosing_users[prepared.user[rows]]]
    cases = Cases(prepared, rows)
    groups = user_groups(prepared, cases.users, cases.history_lengths, cases.items)
    groups = {name: mask for name, mask in groups.items() if name not in ("choose", "accept")}
    results = Results(bootstrap.user_weights(cases.users, prepared.n_users, resamples, seed))
    own = base.fusion.method
    found = {
        "dataset": prepared.dataset,
        "split": "valid",
        "checkpoint": base_path.as_posix(),
        "steps": steps,
        "rows": results.rows,
        "trained": {},
    }
    for config in configs:
        name = own if config is base else variant_name(config, base)
        folder, found["trained"][name] = trained(shortened(config, steps), prepared)
        recommender = Recommender.load(folder, quantization=dense_precision())
        alone = recommender.system.fusion.prior is not None
        model = CachedModel(recommender, folder)
        _, probability = model.scores(cases, ("ctr",), recommender.methods[0], alone=alone)
        results.add_scores(name, cases, groups, None, np.asarray(probability, float))
        if name != own:
            results.add_difference(own, name)
        if json_path is not None:
            with replacing(json_path) as temporary:
                temporary.write_text(json.dumps(found, indent=1) + "\n")
    return found


def main(
    variants: Annotated[list[Path], typer.Argument(help="Configurations to compare.")],
    base: Annotated[Path, typer.Option()] = Path("assets/configs/collm-ml-1m.toml"),
    steps: Annotated[int, typer.Option(min=1, help="Sequences per run.")] = 300,
    json_path: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Each configuration trained on the same budget and measured on the same rows."""
    try:
        found = measure(base, variants, steps, json_path)
    except UserError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
    report.show(found, Console())


if __name__ == "__main__":
    typer.run(main)
