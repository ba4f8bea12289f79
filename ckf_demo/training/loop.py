"""The training loop: packed sequences, curriculum, early stopping, resumable.

    ckf train --config assets/configs/ml-100k.toml

A run keeps its state in the user's cache and writes ``checkpoints/NAME`` whenever validation gets
better, so a kill at any time loses minutes at most. Each of the last stages begins with a copy of
the checkpoint in the cache, from which a resumed run repeats that stage. Several processes may
share the sequences of each optimiser step, and only the main one writes
(`ckf_demo.training.distributed`).
"""

import csv
import io
import itertools
import math
import pickle
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from ckf_demo.config import RunConfig
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.settings import applied
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.system import COMPLETE, System
from ckf_demo.retrieval.simulated import NewcomerWords
from ckf_demo.retrieval.wishes import TasteMatcher
from ckf_demo.runtime.caches import DAMAGE
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import cache_dir, clear_leftovers, exclusive, prepared_path, replacing
from ckf_demo.tasks.explanations.evidence import TextEvidence
from ckf_demo.training.calibration_stage import CalibrationStage
from ckf_demo.training.distributed import Processes
from ckf_demo.training.explanation_stage import ExplanationStage
from ckf_demo.training.losses import (
    selection_loss,
    sequence_losses,
    sequence_losses_of,
    weighted_sum,
)
from ckf_demo.training.prior import fit_before
from ckf_demo.training.prior_stage import PriorStage
from ckf_demo.training.ranking_stage import PoolStage, RankingStage
from ckf_demo.training.sequences import (
    Packer,
    Segment,
    co_liked_by_id,
    segment_at,
    segments_of,
    validation_sequences,
)
from ckf_demo.training.stage import COLUMNS, SAVE_EVERY, Stage, console, in_words

STAGES: tuple[type[Stage], ...] = (RankingStage, ExplanationStage, PoolStage, CalibrationStage)
"""The stages after the joint one, in this order; a configuration uses those that it needs."""


def _training_rows(prepared: Prepared, config: RunConfig) -> np.ndarray:
    """Interactions that the language model learns from: those of `TrainConfig.users_share`."""
    rows, share = prepared.learning_rows(), config.train.users_share
    if share == 1:
        return rows
    users = np.unique(prepared.user[rows])
    size = max(1, round(share * len(users)))
    kept = np.random.default_rng(config.train.seed).choice(users, size, replace=False)
    return rows[np.isin(prepared.user[rows], kept)]


def _packer(system: System) -> Packer:
    """Draws training sequences for a system."""
    prepared, config = system.prepared, system.config
    return Packer(
        prepared,
        config.train,
        config.prompt,
        system.knowledge,
        co_liked_by_id(prepared),
        TextEvidence(prepared) if prepared.texts else None,
        NewcomerWords(TasteMatcher(prepared)) if prepared.facts is not None else None,
    )


class Run:
    """One training run: its inputs, its optimiser and how far it has come.

    ``packer`` draws training sequences from ``segments``. ``prior`` are the losses of what the
    fusion fitted before training, by name. ``processes`` share the run. The checkpoint is written
    to ``folder``, ``checkpoints/NAME`` by default.
    """

    def __init__(
        self,
        system: System,
        packer: Packer,
        segments: list[Segment],
        prior: dict[str, float],
        processes: Processes,
        folder: Path | None = None,
    ):
        self.system, self.processes, self.prior = system, processes, prior
        self.packer, self.segments = packer, segments
        self.config = self.system.config
        self.folder = folder or Path("checkpoints") / self.config.name
        train = self.config.train
        rates = {"adapters": train.adapter_rate, "fusion": train.fusion_rate}
        kinds = self.system.trainable()
        self.processes.align(self.system.fusion, torch.nn.ParameterList(kinds["adapters"]))
        self.optimiser = torch.optim.AdamW(
            [
                {"kind": kind, "params": kinds[kind], "lr": peak, "peak": peak}
                for kind, peak in rates.items()
            ],
            weight_decay=train.weight_decay,
        )
        self.validation = validation_sequences(
            self.packer, train.validation_sequences, text_only=not self.system.fusion.fuses
        )
        self.step, self.best, self.bad, self.seconds = 0, math.inf, 0, 0.0
        self.log: list[dict] = []
        self.recent: list[dict[str, float]] = []
        self.ended = False

    @classmethod
    def prepare(
        cls,
        config: RunConfig,
        prepared: Prepared,
        warm_start: Path | None = None,
        folder: Path | None = None,
    ) -> "Run":
        """Begin a run; tables, embeddings and prior are fitted, or those of ``warm_start``."""
        train = config.train
        processes = Processes()
        processes.check(train.accumulate)
        console.quiet = not processes.main
        if processes.count > 1:
            console.print(f"{processes.count} processes share each optimiser step.")
        knowledge = None
        if warm_start is None:
            knowledge = processes.from_main(lambda: System.fit_knowledge(config, prepared))
        system = System.for_training(
            config, prepared, warm_start, knowledge=knowledge, device=processes.device
        )
        packer = _packer(system)
        if train.adapters_from:
            if warm_start is None:
                system.lora.load(Path(train.adapters_from) / "adapters")
            for parameter in system.lora.adapter_parameters():
                parameter.requires_grad_(False)
        if warm_start is not None:
            prior = read_manifest(warm_start)["training"].get("prior", {})
        else:
            prior = fit_before(system, processes, packer.newcomers)
        segments = segments_of(prepared, _training_rows(prepared, config), config.prompt)
        return cls(system, packer, segments, prior, processes, folder)

    @classmethod
    def of_checkpoint(cls, folder: Path, prepared: Prepared, system: System | None = None) -> "Run":
        """A run on the checkpoint in a folder, which is written there again.

        ``system`` is the checkpoint where it is loaded for training already.
        """
        manifest = read_manifest(folder)
        config = RunConfig.model_validate(manifest["config"])
        system = system or System.for_training(config, prepared, folder)
        segments = segments_of(prepared, _training_rows(prepared, config), config.prompt)
        prior = manifest["training"].get("prior", {})
        return cls(system, _packer(system), segments, prior, Processes(), folder)

    @property
    def state_path(self) -> Path:
        return cache_dir() / "runs" / f"{self.config.name}.pt"

    def before(self, stage: str) -> Path:
        """The copy of the checkpoint with which one of the last stages begins."""
        return self.state_path.with_name(f"{self.config.name}.{stage}")

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Hold the lock of this run's name; UserError when another training of this name does."""

        def busy() -> None:
            raise UserError(
                f"Another training of '{self.config.name}' is running; wait for it, end it, or "
                "give this configuration another name."
            )

        if not self.processes.main:
            yield
            return
        with exclusive(self.state_path.with_name(f".{self.config.name}.lock"), busy):
            clear_leftovers(self.state_path.parent)
            clear_leftovers(self.folder.parent, self.folder.name)
            yield

    def begin(self) -> None:
        """Remove the state of an earlier run of this name and save the first state of this one."""
        if self.processes.main:
            self.forget_stages()
        self.save_state()

    def forget_stages(self) -> None:
        """Remove the copies with which the last stages began."""
        for stage in self.last_stages:
            shutil.rmtree(self.before(stage), ignore_errors=True)

    def train_step(self) -> dict[str, float]:
        """One sequence forward and backward; an optimiser step after every ``accumulate``.

        Returns the losses by task and whether the sequence was text-only, or nothing where another
        process has the sequence.
        """
        config = self.config.train
        progress = self.step / config.steps
        losses = {}
        if self.processes.owns(self.step % config.accumulate):
            losses = self._learn_from_one(progress)
        self.step += 1
        if self.step % config.accumulate == 0:
            parameters = [p for g in self.optimiser.param_groups for p in g["params"]]
            self.processes.sum_gradients(parameters)
            for group in self.optimiser.param_groups:
                group["lr"] = group["peak"] * config.joint_rate_factor(group["kind"], progress)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            self.optimiser.step()
            self._update_backbone()
            self.optimiser.zero_grad(set_to_none=True)
        return losses

    def _learn_from_one(self, progress: float) -> dict[str, float]:
        """Add the gradients of this step's sequence."""
        config = self.config.train
        segment, rng = segment_at(self.segments, self.step, config.seed)
        torch.manual_seed(self.step)
        text_only = rng.random() < config.text_probability(progress)
        if config.text_first:
            text_only = progress < config.text_first
        fusion = self.system.fusion
        sequence = self.packer.draw(
            segment, rng, text_only=text_only or not fusion.fuses, augment=True
        )
        self.system.borrowed = None
        self.system.lora.train()
        fusion.train()
        if fusion.prior is not None:
            fusion.prior.eval()
        losses = sequence_losses(self.system, sequence, teach=True)
        if losses:
            total = weighted_sum(losses) / config.accumulate
            # a text-only sequence trains nothing where the backbone is frozen
            if total.requires_grad:
                total.backward()
        return {"text_only": float(text_only), **{t: x.item() for t, x in losses.items()}}

    def _update_backbone(self) -> None:
        """With full fine-tuning, copy the float32 weights to the backbone."""
        if self.system.lora.full is not None:
            self.system.lora.full.take_over()

    def validate(self) -> dict[str, float]:
        """Mean losses by task over the validation sequences, which the processes share."""
        ablation = replace(COMPLETE, prior=self.config.train.select_on == "pooled")
        count = self.processes.count
        sequences = self.validation[self.processes.index :: count]
        means = {}
        for task, losses in sequence_losses_of(self.system, sequences, ablation).items():
            values = np.empty(len(self.validation))
            for index, part in enumerate(self.processes.gathered(losses)):
                values[index::count] = part
            means[task] = float(np.nanmean(values))
        return means

    def save_state(self) -> None:
        """Write everything that a resumed run needs; only the main process writes."""
        recent = self._recent_of_all()
        if not self.processes.main:
            return
        trainable = self.system.trainable()
        self._write_state(
            {
                "config": self.config.model_dump_json(),
                "weights": [[p.detach() for p in trainable[kind]] for kind in sorted(trainable)],
                "optimiser": self.optimiser.state_dict(),
                "at": [self.step, self.best, self.bad, self.seconds],
                "log": self.log,
                "recent": recent,
                "ended": False,
            }
        )

    def _write_state(self, state: dict) -> None:
        with replacing(self.state_path) as temporary:
            torch.save(state, temporary)

    def _end(self) -> None:
        """Mark the run as ended in its state and remove the copies of the last stages."""
        self.ended = True
        if self.state_path.exists():
            self._write_state({**self._state(), "ended": True})
        self.forget_stages()

    def resume(self) -> None:
        """Take the state that `save_state` wrote; the number of processes may differ.

        UserError without a state, or with one that is damaged or of another configuration.
        """
        state = self.processes.from_main(self._state)
        if state["config"] != self.config.model_dump_json():
            raise UserError(
                f"The state at {self.state_path} is of another configuration; start without "
                "--resume or restore the configuration."
            )
        trainable = self.system.trainable()
        for kind, weights in zip(sorted(trainable), state["weights"], strict=True):
            for parameter, value in zip(trainable[kind], weights, strict=True):
                parameter.data.copy_(value)
        self._update_backbone()
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.best, self.bad, self.seconds = state["at"]
        self.log = state["log"]
        recent = state.get("recent", [])
        self.recent = recent if self.processes.main else [{} for _ in recent]
        self.ended = state.get("ended", False)

    def _state(self) -> dict:
        """The state that `save_state` wrote, on the CPU."""
        if not self.state_path.exists():
            raise UserError(f"Nothing to resume at {self.state_path}; start without --resume.")
        try:
            return torch.load(self.state_path, weights_only=True, map_location="cpu")
        except (*DAMAGE, pickle.UnpicklingError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(
                f"The state at {self.state_path} is damaged ({reason}); start without --resume."
            ) from error

    def save_checkpoint(self) -> None:
        """Write the checkpoint, with a record of the run and its losses as a table."""
        table = io.StringIO()
        writer = csv.DictWriter(table, list(dict.fromkeys(k for row in self.log for k in row)))
        writer.writeheader()
        writer.writerows(self.log)
        self.system.save(
            self.folder,
            extra={
                "training": {
                    "steps": self.step,
                    "of": self.config.train.steps,
                    "minutes": round(self.seconds / 60, 1),
                    "parameters": sum(
                        p.numel()
                        for p in itertools.chain(*self.system.trainable().values())
                        if p.requires_grad
                    ),
                    "threads": torch.get_num_threads(),
                    "device": str(self.system.engine.device),
                    **({"processes": self.processes.count} if self.processes.count > 1 else {}),
                    "validation": self.log[-1],
                    "prior": self.prior,
                }
            },
            texts={"losses.csv": table.getvalue()},
        )

    def run(self, *, stages: bool = True) -> None:
        """Train until the end or until validation stops getting better, then run the last stages.

        The last stages have one sequence in an optimiser step, so the main process runs them alone.
        """
        config = self.config.train
        saved = self.step
        began = time.monotonic() - self.seconds
        with Progress(*COLUMNS, console=console, disable=not self.processes.main) as progress:
            bar = progress.add_task("training", total=config.steps, completed=self.step)
            while self.step < config.steps and self.bad < config.patience:
                self.recent.append(self.train_step())
                progress.update(bar, completed=self.step)
                self.seconds = time.monotonic() - began
                if self.step % config.validate_every == 0 or self.step == config.steps:
                    self._check()
                # gradients are not saved, so only where none are pending
                if self.step - saved >= SAVE_EVERY and self.step % config.accumulate == 0:
                    self.save_state()
                    saved = self.step
            if not config.steps:
                self._check()
        if self.step > saved and self.step % config.accumulate == 0:
            self.save_state()
        console.print(f"Best weighted validation loss {self.best:.4f}")
        self.processes.part()
        if not self.processes.main:
            return
        for stage in self._stages_to_go() if stages else ():
            with replacing(self.before(stage)) as temporary:
                shutil.copytree(self.folder, temporary)
            self.finish(stage)
        self._end()
        console.print(f"See {self.folder}")

    def _stages_to_go(self) -> list[str]:
        """Names of the last stages to run, from the one that was interrupted on.

        The checkpoint with which that stage began is put back.
        """
        stages = list(self.last_stages)
        begun = [stage for stage in stages if self.before(stage).exists()]
        if not begun:
            return stages
        with replacing(self.folder) as temporary:
            shutil.copytree(self.before(begun[-1]), temporary)
        return stages[stages.index(begun[-1]) :]

    @property
    def stages(self) -> dict[str, type[Stage]]:
        """The stages that can run on weights in a checkpoint's folder, by name."""
        prior = {PriorStage.name: PriorStage} if PriorStage.needed(self.system) else {}
        return prior | self.last_stages

    @property
    def last_stages(self) -> dict[str, type[Stage]]:
        """The stages that follow the joint one in this configuration, by name."""
        return {stage.name: stage for stage in STAGES if stage.needed(self.system)}

    def finish(self, name: str) -> None:
        """Run one of the last stages on the weights in the checkpoint's folder.

        UserError for a stage that this configuration does not need.
        """
        stages = self.stages
        if name not in stages:
            raise UserError(f"No stage '{name}' for these tasks; there are: {', '.join(stages)}.")
        if stages[name].serves:
            self.system.serve()
        with Progress(*COLUMNS, console=console) as progress:
            stages[name](self.system, self.folder, self.packer, self.segments).run(progress)

    def _recent_of_all(self) -> list[dict[str, float]]:
        """The losses of each step since the last validation, from all processes."""
        if not self.recent:
            return []
        steps = zip(*self.processes.gathered(self.recent), strict=True)
        return [next((losses for losses in step if losses), {}) for step in steps]

    def _check(self) -> None:
        losses = self.validate()
        recent = self._recent_of_all()
        total = selection_loss(losses)
        training = {
            f"train_{t}": float(np.mean([r[t] for r in recent if t in r]))
            for t in self.config.train.tasks
            if recent
        }
        self.recent = []
        row = {"step": self.step, "total": total, **losses, **training}
        self.log.append({k: round(v, 5) for k, v in row.items()})
        console.print(
            f"step {self.step}: {in_words(losses)} total {total:.4f} | {in_words(training)}"
        )
        if total < self.best:
            self.best, self.bad = total, 0
            if self.processes.main:
                self.save_checkpoint()
        else:
            self.bad += 1


def train(
    config_path: Path,
    resume: bool = False,
    warm_start: Path | None = None,
    only: str | None = None,
    stage: str | None = None,
) -> Path:
    """Train as a configuration says and return the checkpoint's folder.

    ``resume`` continues from the state of an interrupted run; ``warm_start`` is a checkpoint folder
    with the initial weights. ``only`` is the only task to train (CKF-S, saved as ``NAME-TASK``),
    ``stage`` the only last stage to run, on the weights in the checkpoint's folder.
    """
    if stage is not None and (resume or warm_start is not None):
        raise UserError(
            f"--stage {stage} works on the weights in the checkpoint's folder; "
            "leave --resume and --warm-start away."
        )
    config = RunConfig.load(config_path)
    if only is not None:
        if only not in config.train.tasks:
            raise UserError(
                f"'{only}' is not among this configuration's tasks: "
                f"{', '.join(config.train.tasks)}."
            )
        config = config.model_copy(
            update={
                "name": f"{config.name}-{only}",
                "train": config.train.model_copy(update={"tasks": (only,)}),
            }
        )
    prepared = applied(Prepared.load(prepared_path(config.data.dataset)), config.data)
    if stage is not None:
        run = Run.prepare(config, prepared, Path("checkpoints") / config.name)
        run.processes.part()
        if run.processes.main:
            with run.undisturbed():
                run.finish(stage)
        return run.folder
    run = Run.prepare(config, prepared, warm_start)
    with run.undisturbed():
        if resume:
            run.resume()
        else:
            run.begin()
        if run.ended:
            run.forget_stages()
            console.print(f"The run has ended; see {run.folder}")
        else:
            run.run()
    return run.folder
