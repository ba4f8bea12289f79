"""The training loop: packed sequences, curriculum, early stopping, resumable.

    ckf train --config assets/configs/ml-100k.toml

A run keeps its state in the user's cache and writes ``checkpoints/NAME`` whenever validation got
better, so that a kill at any time loses minutes at most. Each of the last stages begins with a
copy of the checkpoint in the cache, from which a resumed run begins that stage again. Several
processes share the sequences of each optimiser step, and its main one alone writes
(`ckf_demo.training.distributed`).
"""

import csv
import io
import math
import pickle
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F

from ckf_demo.collaborative.co_liked_items import CoLikedItems
from ckf_demo.config import RunConfig
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.settings import applied
from ckf_demo.fusion.base import Fused
from ckf_demo.model.predict import score_rows
from ckf_demo.model.system import COMPLETE, Ablation, System, read_manifest
from ckf_demo.runtime.caches import DAMAGE
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import alone, cache_dir, clear_leftovers, prepared_path, replacing
from ckf_demo.tasks import ctr, ranking, rating
from ckf_demo.tasks.explanations.evidence import TextEvidence
from ckf_demo.training.config import TrainConfig
from ckf_demo.training.distributed import Processes
from ckf_demo.training.negatives import with_negatives
from ckf_demo.training.prior import fit_prior
from ckf_demo.training.ranking_stage import weights_by_ndcg
from ckf_demo.training.sequences import PackedSequence, Packer, Segment, segments_of

TASK_WEIGHT = {"rating": 1.0, "ctr": 1.0, "ranking": 0.7, "explanation": 0.4}
SAVE_EVERY = 100
COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)
console = Console(stderr=True)


def text_probability(progress: float, config: TrainConfig) -> float:
    """Share of text-only sequences at ``progress`` in 0–1: a sigmoid with a floor."""
    gate = (progress - config.curriculum_middle) / config.curriculum_width
    return max(config.text_share, 1.0 / (1.0 + math.exp(min(gate, 50.0))))


def rate_factor(progress: float, config: TrainConfig) -> float:
    """Learning rate relative to its peak: linear warm-up, then a cosine to a twentieth."""
    if progress < config.warmup:
        return progress / config.warmup
    rest = (progress - config.warmup) / (1.0 - config.warmup)
    return 0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * min(rest, 1.0)))


def sequence_losses(
    system: System,
    sequence: PackedSequence,
    ablation: Ablation = COMPLETE,
    *,
    teach: bool = False,
) -> dict[str, Tensor]:
    """Mean loss per task of one packed sequence, in one forward pass.

    With ``teach`` the language model is also asked without the prior: it must answer by itself,
    from what the collaborative tokens and the text tell it, and stay near what the prior says
    (``own_weight`` and ``alignment`` of the configuration). Without that, a good prior leaves
    tokens and adapters nothing to learn.
    """
    questions = sequence.questions
    if not questions:
        # one task alone may have nothing to ask, as ranking where nothing was liked
        return {}
    fuses = system.fusion.fuses and not sequence.text_only
    with_tokens = fuses and ablation.tokens and system.fusion.uses_tokens
    prefix = system.writer.prefix(
        sequence.items[sequence.shown_from :],
        sequence.ratings[sequence.shown_from :],
        sequence.profile,
        sequence.taste,
        with_tokens=with_tokens,
    )
    branches = [
        system.writer.branch(
            q.task,
            q.item,
            prefix.ends[q.length - sequence.shown_from],
            with_tokens=with_tokens,
            facts=q.facts,
            hide_title=q.hide_title,
            continuation=q.text,
        )
        for q in questions
    ]
    fused: Fused | None = None
    if fuses:
        pairs = system.pairs(
            sequence.items,
            sequence.ratings,
            np.array([q.length for q in questions]),
            np.array([q.item for q in questions]),
            sequence.labelled,
            np.array([q.labels for q in questions]),
        )
        fused = system.fuse(pairs, ablation)
    slots = system.slots(fused, branches) if with_tokens else [None] * len(branches)
    if fused is not None and fused.updates and ablation.tokens:
        hidden = system.engine.separate(prefix.ids, branches, fused.updates)
    else:
        hidden = system.engine.forward(
            prefix.ids,
            branches,
            slots,
            shared=ablation.shared_adapter,
            tasks=ablation.task_adapter,
        )
    prior = fused if ablation.prior else None
    device, train = system.engine.device, system.config.train
    truth = {
        "rating": torch.tensor([q.stars for q in questions], device=device),
        "ctr": torch.tensor([q.liked for q in questions], device=device),
    }
    counts = torch.from_numpy(system.knowledge.item_count[[q.item for q in questions]]).to(device)
    losses: dict[str, Tensor] = {}
    for task in dict.fromkeys(q.task for q in questions):
        rows = [i for i, q in enumerate(questions) if q.task == task]
        if task == "explanation":
            texts = [_text_loss(system, hidden[i], questions[i].text) for i in rows]
            losses[task] = torch.stack(texts).mean()
            continue
        last = torch.cat([hidden[i] for i in rows])
        known = truth[task][rows] if task in truth else None, counts[rows], train.negatives + 1
        pooled = system.read(task, last, prior, rows, calibrate=False)
        losses[task] = _answer_loss(task, pooled, *known)
        if teach and prior is not None and task in prior.prior:
            own = system.read(task, last, None, rows, calibrate=False)
            distance = _alignment(task, own, prior.prior[task][rows], *known[1:])
            losses[task] = (
                losses[task]
                + train.own_weight * _answer_loss(task, own, *known)
                + train.alignment * distance
            )
            if task == "ctr" and train.within_user:
                losses[task] = losses[task] + train.within_user * ctr.within_user(own, known[0])
    return losses


def _answer_loss(
    task: str, answer: Tensor, truth: Tensor | None, counts: Tensor, group: int
) -> Tensor:
    if task == "ranking":
        return ranking.loss(answer, counts, group)
    return (rating if task == "rating" else ctr).loss(answer, truth)


def _alignment(task: str, own: Tensor, prior: Tensor, counts: Tensor, group: int) -> Tensor:
    if task == "ranking":
        return ranking.alignment(own, prior, counts, group)
    return (rating if task == "rating" else ctr).alignment(own, prior)


def _text_loss(system: System, hidden: Tensor, text: str) -> Tensor:
    target = torch.tensor(system.writer.continuation(text), device=hidden.device)
    return F.cross_entropy(system.engine.logits(hidden), target)


@torch.inference_mode()
def sequence_losses_of(
    system: System, sequences: Iterable[PackedSequence], ablation: Ablation = COMPLETE
) -> dict[str, np.ndarray]:
    """Loss per task and sequence; NaN where a sequence has no such question: float64 (n,).

    Questions of tasks that the system does not know are left out.
    """
    system.lora.eval()
    system.fusion.eval()
    tasks = system.config.train.tasks
    rows = []
    for sequence in sequences:
        known = [q for q in sequence.questions if q.task in tasks]
        losses = sequence_losses(system, replace(sequence, questions=known), ablation)
        rows.append([losses[t].item() if t in losses else np.nan for t in tasks])
    return dict(zip(tasks, np.array(rows).reshape(-1, len(tasks)).T, strict=True))


def validation_sequences(packer: Packer, size: int, *, text_only: bool) -> list[PackedSequence]:
    """The same validation sequences each time: whole histories, nothing dropped."""
    rng = np.random.default_rng(12345)
    prepared = packer.prepared
    segments = segments_of(prepared, prepared.choosing_rows(), packer.prompt)
    if packer.writings is not None:
        segments = [own for own in segments if prepared.written[own.rows].any()]
    chosen = rng.choice(len(segments), min(size, len(segments)), replace=False)
    return [packer.draw(segments[i], rng, text_only=text_only, augment=False) for i in chosen]


def selection_loss(losses: dict[str, float]) -> float:
    """What early stopping looks at: the weighted sum over tasks with a measured answer.

    Explanations go on getting better long after the others have begun to overfit, and have a last
    stage of their own; they decide only when there is no other task.
    """
    answers = {t: x for t, x in losses.items() if t != "explanation"} or losses
    return sum(TASK_WEIGHT[task] * value for task, value in answers.items())


class Run:
    """One training run: its data, its system, its optimiser and where it stands.

    ``folder`` is where the checkpoint is written, ``checkpoints/NAME`` by default.
    """

    def __init__(
        self,
        config: RunConfig,
        prepared: Prepared,
        warm_start: Path | None = None,
        folder: Path | None = None,
    ):
        self.config = config
        self.folder = folder or Path("checkpoints") / config.name
        train = config.train
        self.processes = Processes()
        self.processes.check(train.accumulate)
        console.quiet = not self.processes.main
        if self.processes.count > 1:
            console.print(f"{self.processes.count} processes share each optimiser step.")
        knowledge = None
        if warm_start is None:
            knowledge = self.processes.from_main(lambda: System.fit_knowledge(config, prepared))
        self.system = System.for_training(
            config, prepared, warm_start, knowledge=knowledge, device=self.processes.device
        )
        fit = prepared.fit
        liked = CoLikedItems.fit(
            prepared.user[fit], prepared.item[fit], prepared.rating[fit], prepared.n_items
        )
        self.packer = Packer(
            prepared,
            train,
            config.prompt,
            self.system.knowledge,
            lambda a, b: liked(prepared.item_index[a], prepared.item_index[b]),
            TextEvidence(prepared) if prepared.texts else None,
        )
        rows = prepared.learning_rows()
        if train.users_share < 1:
            users = np.unique(prepared.user[rows])
            size = max(1, round(train.users_share * len(users)))
            kept = np.random.default_rng(train.seed).choice(users, size, replace=False)
            rows = rows[np.isin(prepared.user[rows], kept)]
        self.segments = segments_of(prepared, rows, config.prompt)
        self.worded = self.segments
        if prepared.texts:
            self.worded = [own for own in self.segments if prepared.written[own.rows].any()]
        self.prior: dict[str, float] = {}
        if train.adapters_from and warm_start is None:
            self.system.lora.load(Path(train.adapters_from) / "adapters")
        if train.adapters_from:
            for parameter in self.system.lora.adapter_parameters():
                parameter.requires_grad_(False)
        fusion, knowledge = self.system.fusion, self.system.knowledge
        if warm_start is not None:
            self.prior = read_manifest(warm_start)["training"].get("prior", {})
        else:
            self.prior = self.processes.from_main(
                lambda: fusion.fit(prepared, knowledge, seed=train.seed)
            )
            if self.prior:
                console.print(f"Before the language model: {_row(self.prior)}")
            if fusion.prior is not None:
                console.print("Fitting the collaborative prior …")
                losses = self.processes.from_main(
                    lambda: fit_prior(fusion, prepared, knowledge, seed=train.seed)
                )
                fusion.prior.requires_grad_(False)
                console.print(f"  validation: {_row(losses)}")
                self.prior |= losses
        kinds = self.system.trainable()
        self.processes.align(fusion, torch.nn.ParameterList(kinds["adapters"]))
        self.optimiser = torch.optim.AdamW(
            [
                {"kind": kind, "params": kinds[kind], "lr": peak, "peak": peak}
                for kind, peak in (
                    ("adapters", train.adapter_rate),
                    ("fusion", train.fusion_rate),
                )
            ],
            weight_decay=train.weight_decay,
        )
        self.validation = validation_sequences(
            self.packer, train.validation_sequences, text_only=not fusion.fuses
        )
        self.step, self.best, self.bad, self.seconds = 0, math.inf, 0, 0.0
        self.log: list[dict] = []
        self.recent: list[dict[str, float]] = []
        self.ended = False

    @property
    def state_path(self) -> Path:
        return cache_dir() / "runs" / f"{self.config.name}.pt"

    def before(self, stage: str) -> Path:
        """The copy of the checkpoint with which one of the last stages begins."""
        return self.state_path.with_name(f"{self.config.name}.{stage}")

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Keep other trainings of the same name away.

        Raises
        ------
        UserError
            When there is one.
        """

        def busy() -> None:
            raise UserError(
                f"Another training of '{self.config.name}' is running; wait for it, end it, or "
                "give this configuration another name."
            )

        if not self.processes.main:
            yield
            return
        with alone(self.state_path.with_name(f".{self.config.name}.lock"), busy):
            clear_leftovers(self.state_path.parent)
            clear_leftovers(self.folder.parent, self.folder.name)
            yield

    def begin(self) -> None:
        """Forget what an earlier run of this name left; a kill from here on can be resumed."""
        if self.processes.main:
            self.forget_stages()
        self.save_state()

    def forget_stages(self) -> None:
        """Remove the copies with which the last stages began."""
        for stage in self.last_stages:
            shutil.rmtree(self.before(stage), ignore_errors=True)

    def segment(
        self, step: int, segments: list[Segment] | None = None
    ) -> tuple[Segment, np.random.Generator]:
        """Each step's segment, of all or of some, follows from the seed, so that a resumed run goes
        on as it was."""
        segments = self.segments if segments is None else segments
        epoch, place = divmod(step, len(segments))
        order = np.random.default_rng([self.config.train.seed, epoch]).permutation(len(segments))
        return segments[order[place]], np.random.default_rng([self.config.train.seed, 1, step])

    def train_step(self) -> dict[str, float]:
        """One sequence forward and backward; an optimiser step after every ``accumulate``.

        The losses by task; nothing for a sequence that is another process's.
        """
        config = self.config.train
        progress = self.step / config.steps
        own = self.processes.owns(self.step % config.accumulate)
        losses = self._learn_from_one(progress) if own else {}
        self.step += 1
        if self.step % config.accumulate == 0:
            parameters = [p for g in self.optimiser.param_groups for p in g["params"]]
            self.processes.sum_gradients(parameters)
            for group in self.optimiser.param_groups:
                group["lr"] = group["peak"] * self._rate(group["kind"], progress)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            self.optimiser.step()
            self._take_over()
            self.optimiser.zero_grad(set_to_none=True)
        return losses

    def _learn_from_one(self, progress: float) -> dict[str, float]:
        """Add this step's sequence to the gradients."""
        config = self.config.train
        segment, rng = self.segment(self.step)
        torch.manual_seed(self.step)
        text_only = rng.random() < text_probability(progress, config)
        if config.text_first:
            text_only = progress < config.text_first
        fusion = self.system.fusion
        sequence = self.packer.draw(
            segment, rng, text_only=text_only or not fusion.fuses, augment=True
        )
        self.system.lora.train()
        fusion.train()
        if fusion.prior is not None:
            fusion.prior.eval()
        losses = sequence_losses(self.system, sequence, teach=True)
        if losses:
            total = sum(TASK_WEIGHT[t] * x for t, x in losses.items()) / config.accumulate
            # words alone give a frozen backbone nothing to learn
            if total.requires_grad:
                total.backward()
        return {"text_only": float(text_only), **{t: x.item() for t, x in losses.items()}}

    def _take_over(self) -> None:
        """With full fine-tuning the backbone follows its masters."""
        if self.system.lora.full is not None:
            self.system.lora.full.take_over()

    def _rate(self, kind: str, progress: float) -> float:
        """The rate of adapters or fusion relative to its peak; in two steps each has its own."""
        config = self.config.train
        if not config.text_first:
            return rate_factor(progress, config)
        first = progress < config.text_first
        if first != (kind == "adapters"):
            return 0.0
        own = config.text_first if first else 1 - config.text_first
        return rate_factor((progress - (0 if first else config.text_first)) / own, config)

    def validate(self) -> dict[str, float]:
        """Mean losses by task over the validation sequences, which the processes share."""
        pooled = self.config.train.select_on == "pooled"
        count = self.processes.count
        losses = sequence_losses_of(
            self.system,
            self.validation[self.processes.index :: count],
            COMPLETE if pooled else replace(COMPLETE, prior=False),
        )
        means = {}
        for task, own in losses.items():
            values = np.empty(len(self.validation))
            for index, part in enumerate(self.processes.gathered(own)):
                values[index::count] = part
            means[task] = float(np.nanmean(values))
        return means

    def save_state(self) -> None:
        """Everything that a resumed run needs, beside and renamed; the main process alone."""
        recent = self._recent_of_all()
        if not self.processes.main:
            return
        trainable = self.system.trainable()
        state = {
            "config": self.config.model_dump_json(),
            "weights": [[p.detach() for p in trainable[kind]] for kind in sorted(trainable)],
            "optimiser": self.optimiser.state_dict(),
            "at": [self.step, self.best, self.bad, self.seconds],
            "log": self.log,
            "recent": recent,
            "ended": False,
        }
        self._write_state(state)

    def _write_state(self, state: dict) -> None:
        with replacing(self.state_path) as temporary:
            torch.save(state, temporary)

    def _end(self) -> None:
        """Say in the state that nothing is left to do; the last stages are no part of it."""
        self.ended = True
        if self.state_path.exists():
            self._write_state({**self._state(), "ended": True})
        self.forget_stages()

    def resume(self) -> None:
        """Go on where `save_state` left off; UserError when there is nothing that fits.

        The number of processes may be another than before.
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
        self._take_over()
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.best, self.bad, self.seconds = state["at"]
        self.log = state["log"]
        recent = state.get("recent", [])
        self.recent = recent if self.processes.main else [{} for _ in recent]
        self.ended = state.get("ended", False)

    def _state(self) -> dict:
        """What `save_state` wrote, on the CPU."""
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
        """Write the checkpoint with what is known of the run, and its losses as a table."""
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
                        for kind in self.system.trainable().values()
                        for p in kind
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

    def word(self, progress: Progress) -> None:
        """The last stage: the explanation adapter learns to put facts into words."""
        config = self.config.train
        own = self._hold_all_but("explanation")
        self.system.lora.train()
        optimiser = torch.optim.AdamW(own, lr=config.wording_rate, weight_decay=0.0)
        bar = progress.add_task("wording", total=config.wording_steps)
        losses: list[float] = []
        for step in range(config.wording_steps):
            torch.manual_seed(step)
            segment, rng = self.segment(config.steps + step, self.worded)
            sequence = self.packer.draw_wordings(segment, rng, config.wording_size)
            loss = sequence_losses(self.system, sequence)["explanation"]
            loss.backward()
            optimiser.param_groups[0]["lr"] = config.wording_rate * rate_factor(
                step / config.wording_steps, config
            )
            torch.nn.utils.clip_grad_norm_(own, 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            losses.append(loss.item())
            progress.update(bar, completed=step + 1)
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == config.wording_steps:
                recent = float(np.mean(losses[-SAVE_EVERY:]))
                console.print(f"wording {step + 1}: {recent:.4f}")
                self._save_stage("wording", {"steps": step + 1, "explanation": round(recent, 5)})

    def order(self, progress: Progress) -> None:
        """A last stage: the ranking adapter alone, then its weight in the pool.

        The adapter is the one that was best on validation, that of before included; the weight is
        the one with the best order of validation queries.
        """
        config, system = self.config.train, self.system
        own = self._hold_all_but("ranking")
        alone = config.model_copy(update={"tasks": ("ranking",), "choices": config.ranking_size})
        packer = Packer(
            system.prepared,
            alone,
            self.config.prompt,
            system.knowledge,
            self.packer.liked_together,
            self.packer.writings,
        )
        sequences = validation_sequences(packer, config.validation_sequences, text_only=False)
        best = float(np.nanmean(sequence_losses_of(system, sequences)["ranking"]))
        console.print(f"ranking 0: {best:.4f}")
        optimiser = torch.optim.AdamW(own, lr=config.ranking_rate, weight_decay=0.0)
        bar = progress.add_task("ranking", total=config.ranking_steps)
        for step in range(config.ranking_steps):
            torch.manual_seed(step)
            segment, rng = self.segment(config.steps + step)
            bare = bool(rng.random() < config.text_share)
            system.lora.train()
            losses = sequence_losses(
                system, packer.draw(segment, rng, text_only=bare, augment=True), teach=True
            )
            if losses:
                losses["ranking"].backward()
            optimiser.param_groups[0]["lr"] = config.ranking_rate * rate_factor(
                step / config.ranking_steps, config
            )
            torch.nn.utils.clip_grad_norm_(own, 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            progress.update(bar, completed=step + 1)
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == config.ranking_steps:
                loss = float(np.nanmean(sequence_losses_of(system, sequences)["ranking"]))
                console.print(f"ranking {step + 1}: {loss:.4f}")
                if loss < best:
                    best = loss
                    self._save_stage("ranking", {"steps": step + 1, "ranking": round(loss, 5)})
        self._weigh(progress)

    def _weigh(self, progress: Progress) -> None:
        """Set the weight in the ranking pool by the order of validation queries."""
        self.system.load_weights(self.folder)
        bar = progress.add_task("weight of ranking", total=None)
        found = weights_by_ndcg(self.system, lambda: progress.advance(bar))
        console.print(" ".join(f"{w:g}: {x:.4f}" for w, x in found.items()))
        weight = max(found, key=found.get)
        record = read_manifest(self.folder).get("stages", {}).get("ranking", {"steps": 0})
        self.system.fusion.set_weight("ranking", weight)
        self._save_stage("ranking", record | {"weight": weight, "ndcg@10": round(found[weight], 5)})

    def _hold_all_but(self, task: str) -> list[torch.nn.Parameter]:
        """Take the best weights so far and let one task's own parameters learn, which are returned.

        The other tasks stay as they are: a task adapter answers for one alone.
        """
        self.system.load_weights(self.folder)
        self.system.fusion.eval()
        own = []
        for parameter in self.system.fusion.parameters():
            parameter.requires_grad_(False)
        for name, parameter in self.system.lora.peft.named_parameters():
            parameter.requires_grad_(task in name.split("."))
            if parameter.requires_grad:
                own.append(parameter)
        return own

    def _save_stage(self, name: str, record: dict) -> None:
        """Write the checkpoint, with what the manifest says of the stages before and of this."""
        manifest = read_manifest(self.folder)
        stages = manifest.get("stages", {}) | {name: record}
        if name != "calibration":
            self.system.calibration = manifest["calibration"]
        self.system.save(self.folder, extra={"training": manifest["training"], "stages": stages})

    def calibrate(self) -> None:
        """Fit slope and intercept of the CTR logit on validation rows, for the best weights.

        With ``pool_on_validation`` the language model's own logit and the prior's are fitted side
        by side, which gives their weights in the pool as well.
        """
        system = self.system
        system.load_weights(self.folder)
        system.calibration = {}
        system.lora.eval()
        system.fusion.eval()
        rows = system.prepared.choosing_rows()
        size = min(self.config.train.calibration_rows, len(rows))
        rng = np.random.default_rng(0)
        chosen = np.sort(rng.choice(rows, size, replace=False))
        chosen, items, liked = with_negatives(system.prepared, system.knowledge, chosen, rng)
        scores = score_rows(system, chosen, tasks=("ctr",), targets=items)
        if self.config.train.pool_on_validation:
            prior = score_rows(system, chosen, tasks=("ctr",), targets=items, prior_only=True)[
                "ctr"
            ]
            both = np.stack([_logit(scores["ctr alone"]), _logit(prior)], axis=1)
            fitted = LogisticRegression(C=1e6).fit(both, liked)
            own, other = fitted.coef_[0].clip(min=0.0)
            slope, weight = float(own + other), float(own / (own + other))
            console.print(f"weight of the language model: {weight:.3f}")
            system.fusion.set_weight("ctr", weight)
        else:
            fitted = LogisticRegression(C=1e6).fit(_logit(scores["ctr"])[:, None], liked)
            slope, weight = float(fitted.coef_[0, 0]), None
        record = {"rows": size} | ({} if weight is None else {"weight": round(weight, 4)})
        system.calibration = {"ctr": (slope, float(fitted.intercept_[0]))}
        self._save_stage("calibration", record)

    def run(self, *, stages: bool = True) -> None:
        """Train to the end or until validation stops getting better; then the last stages.

        Those have one sequence in an optimiser step, so the main process takes them alone.
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
        """The last stages from the one that was interrupted on, its checkpoint put back; or all."""
        stages = self.last_stages
        begun = [stage for stage in stages if self.before(stage).exists()]
        if not begun:
            return stages
        with replacing(self.folder) as temporary:
            shutil.copytree(self.before(begun[-1]), temporary)
        return stages[stages.index(begun[-1]) :]

    @property
    def last_stages(self) -> list[str]:
        """Which stages follow the joint one for these tasks."""
        config = self.config.train
        needed = {
            "ranking": config.ranking_steps > 0 and self.system.fusion.prior is not None,
            "wording": "explanation" in config.tasks and config.wording_steps > 0,
            "calibration": "ctr" in config.tasks,
        }
        return [stage for stage, wanted in needed.items() if wanted]

    def finish(self, stage: str) -> None:
        """Run one of the last stages on the weights in the checkpoint's folder.

        Raises
        ------
        UserError
            For a stage that these tasks do not have.
        """
        if stage not in self.last_stages:
            raise UserError(
                f"No stage '{stage}' for these tasks; there are: {', '.join(self.last_stages)}."
            )
        if stage == "calibration":
            console.print("Calibrating …")
            self.calibrate()
            return
        with Progress(*COLUMNS, console=console) as progress:
            (self.order if stage == "ranking" else self.word)(progress)

    def _recent_of_all(self) -> list[dict[str, float]]:
        """The losses of each step since the last look at validation, whosever it was."""
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
        console.print(f"step {self.step}: {_row(losses)} total {total:.4f} | {_row(training)}")
        if total < self.best:
            self.best, self.bad = total, 0
            if self.processes.main:
                self.save_checkpoint()
        else:
            self.bad += 1


def _logit(probability: np.ndarray) -> np.ndarray:
    return np.log(probability / (1 - probability))


def _row(values: dict[str, float]) -> str:
    return " ".join(f"{k} {v:.4f}" for k, v in values.items())


def train(
    config_path: Path,
    resume: bool = False,
    warm_start: Path | None = None,
    only: str | None = None,
    stage: str | None = None,
) -> Path:
    """Train as a configuration says and return the checkpoint's folder.

    Parameters
    ----------
    resume
        Go on from the state that an interrupted run left.
    warm_start
        A checkpoint folder whose weights are the beginning.
    only
        One task alone: CKF-S, saved as ``NAME-TASK``.
    stage
        One of the last stages alone, on the weights that the checkpoint's folder holds.
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
        run = Run(config, prepared, Path("checkpoints") / config.name)
        run.processes.part()
        if run.processes.main:
            with run.undisturbed():
                run.finish(stage)
        return run.folder
    run = Run(config, prepared, warm_start)
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
