"""A checkpoint in memory: backbone, Multi-LoRA, fusion, prompts and collaborative tables.

Training, evaluation and serving go through the same few methods, so that what is served is what
was trained. `Recommender` puts people and answers around it.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from ckf_demo.backbone.engine import Branch, Engine
from ckf_demo.backbone.loading import (
    backbone_hash,
    dense_precision,
    load_backbone,
    load_tokenizer,
)
from ckf_demo.backbone.multilora import MultiLora
from ckf_demo.backbone.sharing import shared_backbone
from ckf_demo.backbone.updates import PairUpdates
from ckf_demo.collaborative.base import UNDESCRIBED, Description, Labelled
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.collaborative.likes import LikesKnowledge
from ckf_demo.collaborative.registry import Knowledge, knowledge_of
from ckf_demo.config import RunConfig
from ckf_demo.data.prepared import Prepared
from ckf_demo.fusion.base import BackboneShape, Fused, FusionMethod, PairBatch
from ckf_demo.fusion.ckf import POOLED
from ckf_demo.fusion.registry import get_method
from ckf_demo.model.manifest import (
    ADAPTERS,
    BORROWED,
    FORMAT,
    MANIFEST,
    adapters_folder,
    borrowed_changed,
    checked_manifest,
    config_hash,
    read_manifest,
    write_manifest,
)
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.logs import LOGGER
from ckf_demo.runtime.paths import replacing, sha256
from ckf_demo.tasks.examples import worked_examples
from ckf_demo.tasks.prompts import PromptWriter, single_token

COLLABORATIVE_FILE = "collaborative.safetensors"
FUSION = "fusion.safetensors"


@dataclass(frozen=True)
class Ablation:
    """Parts that an ablation can switch off at inference; everything is on by default."""

    tokens: bool = True
    prior: bool = True
    shared_adapter: bool = True
    task_adapter: bool = True
    user_bridge: bool = True
    item_bridge: bool = True


COMPLETE = Ablation()


class System:
    """Everything that answers questions about (person, item) pairs.

    Attributes
    ----------
    calibration
        Per task a slope and an intercept for logits, fitted on the validation part.
    borrowed
        The checkpoint whose adapters this one has and is saved with, or None for its own.
    serving
        The tables that a checkpoint is saved with. In training ``knowledge`` are others, which
        have not seen what the language model learns from.
    """

    def __init__(
        self,
        config: RunConfig,
        prepared: Prepared,
        knowledge: Knowledge,
        model: PreTrainedModel,
        tokenizer,
    ):
        self.config, self.prepared, self.knowledge = config, prepared, knowledge
        self.backbone_hash = backbone_hash(model)
        self._shape, self._tokenizer = BackboneShape.of(model), tokenizer
        self.lora = MultiLora(model, config.train.tasks, config.lora)
        self.engine = Engine(self.lora)
        self.fusion = self._new_fusion()
        self.writer = PromptWriter(
            tokenizer,
            _titles(prepared, config),
            prepared.years.tolist(),
            prepared.genres,
            config.prompt,
            prepared.feedback,
            history_tokens=self.fusion.history_tokens,
            token_width=self.fusion.token_width,
            domain=prepared.domain,
            facts=_facts(prepared, config.prompt.tags),
        )
        self.writer.examples = worked_examples(
            self.writer, prepared, config.train.tasks, seed=config.train.seed
        )
        if self.fusion.history_tokens:
            self.engine.vectors = self.fusion.history_vectors
        if self.fusion.changes_weights:
            self.engine.updates = PairUpdates(model, self.fusion.targets)
        self.calibration: dict[str, tuple[float, float]] = {}
        self.borrowed: dict | None = None
        self.serving = knowledge

    @staticmethod
    def fit_knowledge(config: RunConfig, prepared: Prepared) -> Knowledge:
        """The tables of a fresh system."""
        kind, options = knowledge_of(prepared), System._options(config)
        if kind is not CollaborativeKnowledge:
            options.pop("retrieves")
        knowledge = kind.fit(prepared, **options)
        if isinstance(knowledge, LikesKnowledge):
            knowledge.out_of_fold = config.fusion.out_of_fold
        return knowledge

    @staticmethod
    def _options(config: RunConfig) -> dict:
        """How a configuration wants its tables fitted."""
        return {"seed": config.train.seed, "retrieves": config.train.retrievers}

    @classmethod
    def for_training(
        cls,
        config: RunConfig,
        prepared: Prepared,
        warm_start: Path | None = None,
        *,
        knowledge: Knowledge | None = None,
        device: str | None = None,
    ) -> "System":
        """Build a system on dequantised weights, those that are served.

        It seeds torch with the run's seed. A fresh system has the tables ``knowledge``, by default
        fitted here. With ``warm_start`` it has the weights and tables of that checkpoint (UserError
        if it does not fit), and ``knowledge`` is ignored.
        """
        name = config.backbone.name
        if warm_start is not None:
            checked_manifest(warm_start, prepared)
            served = knowledge_of(prepared).load(warm_start / COLLABORATIVE_FILE, prepared)
            knowledge = served.for_learning(prepared, **cls._options(config))
        elif knowledge is None:
            knowledge = cls.fit_knowledge(config, prepared)
        torch.manual_seed(config.train.seed)
        model = load_backbone(name, dense_precision(device), device)
        system = cls(config, prepared, knowledge, model, load_tokenizer(name))
        if warm_start is not None:
            system.load_weights(warm_start)
            knowledge = served
        system.serving = knowledge.for_serving(prepared, **cls._options(config))
        return system

    def serve(self) -> None:
        """Answer with the tables for serving from now on."""
        if self.knowledge is self.serving:
            return
        self.knowledge = self.serving
        weights, training = self.fusion.state_dict(), self.fusion.training
        with torch.random.fork_rng(devices=[]):
            self.fusion = self._new_fusion()
        self.fusion.load_state_dict(weights)
        self.fusion.train(training)
        if self.fusion.history_tokens:
            self.engine.vectors = self.fusion.history_vectors

    def _new_fusion(self) -> FusionMethod:
        method = get_method(self.config.fusion.method)
        fusion = method(self.config.fusion, self.knowledge, self._shape)
        if fusion.alphabet:
            ids = [single_token(self._tokenizer, character) for character in fusion.alphabet]
            fusion.characters = self.engine.word_embeddings(ids)
        return fusion.to(self.engine.device)

    def untrained_fusion(self) -> FusionMethod:
        """The fusion before it was trained, in evaluation mode.

        Learnt parameters are re-initialised with the run's seed. Fitted ones (scales, priors,
        tables) keep their served values.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.train.seed)
            fresh = self._new_fusion()
        learnt = {id(parameter) for parameter in self.fusion.learnt()}
        drawn = {name for name, p in self.fusion.named_parameters() if id(p) in learnt}
        fitted = {k: v for k, v in self.fusion.state_dict().items() if k not in drawn}
        fresh.load_state_dict(fitted, strict=False)
        return fresh.eval()

    def pairs(
        self,
        items: np.ndarray,
        ratings: np.ndarray,
        lengths: np.ndarray,
        targets: np.ndarray,
        labelled: Labelled | None = None,
        counts: np.ndarray | None = None,
        description: Description = UNDESCRIBED,
    ) -> PairBatch:
        """Fold in and batch (person, item) pairs of one history; see `PairBatch.build`."""
        return PairBatch.build(
            self.knowledge,
            items,
            ratings,
            lengths,
            targets,
            self.engine.device,
            labelled=labelled,
            counts=counts,
            description=description,
        )

    def fuse(
        self,
        pairs: PairBatch,
        ablation: Ablation = COMPLETE,
        bridges: tuple[Tensor, Tensor] | None = None,
    ) -> Fused:
        """Collaborative tokens and priors of pairs.

        ``bridges`` are another person's, for a method that has personal ones.
        """
        options = {} if bridges is None else {"bridges": bridges}
        if not (ablation.user_bridge and ablation.item_bridge):
            options |= {"user_bridge": ablation.user_bridge, "item_bridge": ablation.item_bridge}
        return self.fusion(pairs, **options)

    def slot(self, fused: Fused | None, pair: int) -> Tensor:
        """Slot embeddings of one pair: the user's token, then the item's; (2 w, H)."""
        assert fused is not None  # branches have slots only where something was fused
        both = torch.cat([fused.user_tokens[pair], fused.item_tokens[pair]])
        return both.view(-1, self._shape.hidden_size)

    def slots(
        self, fused: Fused | None, branches: Sequence[Branch], pairs: Sequence[int]
    ) -> list[Tensor | None]:
        """Slot embeddings of branches, each with its pair among the fused ones."""
        return [
            self.slot(fused, pair) if branch.slots else None
            for branch, pair in zip(branches, pairs, strict=True)
        ]

    def read(
        self,
        task: str,
        hidden: Tensor,
        fused: Fused | None,
        rows: Sequence[int],
        *,
        calibrate: bool,
    ) -> Tensor:
        """Answers from the last hidden states (m, H) of branches.

        ``rows`` are the rows of their priors in ``fused``, which is None for the language model
        alone.

        Returns
        -------
        Log-probabilities (m, 5) for ratings, logits (m,) for CTR, scores (m,) for ranking; float32.
        """
        logits = self.engine.logits(hidden, self.writer.answers[task])
        prior = weight = None
        if fused is not None and task in fused.prior:
            prior = fused.prior[task][torch.as_tensor(rows, device=logits.device)]
            weight = fused.weight[task]
        out = self.writer.tasks[task].combine(logits, prior, weight)
        return self._calibrated(task, out) if calibrate else out

    def _calibrated(self, task: str, answer: Tensor) -> Tensor:
        if task not in self.calibration:
            return answer
        slope, intercept = self.calibration[task]
        return slope * answer + intercept

    def asks_prior_alone(self, task: str) -> bool:
        """Whether the language model has no weight in the answers of a task."""
        return not self.fusion.weights().get(task, 1.0)

    def of_prior(self, task: str, fused: Fused, rows: Sequence[int]) -> Tensor:
        """What `read` returns for a task of `asks_prior_alone`, which needs no hidden states."""
        answer = self.writer.tasks[task].of_prior(fused.prior[task][list(rows)])
        return self._calibrated(task, answer)

    def trainable(self) -> dict[str, list[torch.nn.Parameter]]:
        """Parameters by kind: ``adapters`` and ``fusion`` (the prior is fitted on its own)."""
        return {"adapters": self.lora.adapter_parameters(), "fusion": self.fusion.learnt()}

    def save(
        self, folder: Path, *, extra: dict | None = None, texts: Mapping[str, str] | None = None
    ) -> None:
        """Write a checkpoint, replacing an earlier one completely or not at all.

        Other files in the folder, such as results, are kept. ``extra`` are further entries of the
        manifest, ``texts`` further files by name.
        """
        folder = Path(folder)
        with replacing(folder) as temporary:
            if folder.is_dir():
                old = shutil.ignore_patterns(ADAPTERS, FUSION, COLLABORATIVE_FILE, MANIFEST, ".*")
                shutil.copytree(folder, temporary, ignore=old)
            temporary.mkdir(exist_ok=True)
            for name, text in (texts or {}).items():
                (temporary / name).write_text(text, encoding="utf-8")
            self._write(temporary, extra or {})

    def _write(self, folder: Path, extra: dict) -> None:
        """Write the files of a checkpoint into a new folder."""
        if self.lora.adapter_parameters() and self.borrowed is None:
            self.lora.save(folder / ADAPTERS)
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.fusion.state_dict().items()}
        for name, tensor in tensors.items():
            if tensor.ndim > 1 and not name.startswith("prior."):
                tensors[name] = tensor.to(torch.bfloat16)
        save_file(tensors or {"nothing": torch.zeros(1)}, folder / FUSION)
        self.serving.save(folder / COLLABORATIVE_FILE)
        config = json.loads(self.config.model_dump_json())
        manifest = {
            "format": FORMAT,
            "name": self.config.name,
            "method": self.fusion.name,
            "tasks": list(self.config.train.tasks),
            "dataset": self.config.data.dataset,
            "backbone": self.config.backbone.name,
            "hashes": {
                "backbone": self.backbone_hash,
                "prepared": self.prepared.training_hash,
                "config": config_hash(config),
                "files": {
                    str(p.relative_to(folder)): sha256(p)
                    for p in sorted(folder.rglob("*.safetensors"))
                },
            },
            "calibration": self.calibration,
            "seed": self.config.train.seed,
            "versions": {p: version(p) for p in ("torch", "transformers", "peft", "lenskit")},
            "config": config,
            **({BORROWED: self.borrowed} if self.borrowed else {}),
            **extra,
        }
        write_manifest(folder, manifest)

    def load_weights(self, folder: Path, source: Prepared | None = None) -> None:
        """Take fusion and adapters from a checkpoint of the same shape.

        Where it borrows adapters that were trained again since, the language model has no weight
        in the pool.

        ``source`` is the data it was trained on, if they are not this system's.
        """
        manifest = read_manifest(folder)
        self.lora.load(adapters_folder(folder, manifest))
        self.borrowed = manifest.get(BORROWED)
        tensors = load_file(Path(folder) / FUSION)
        if source is None:
            tensors = self.fusion.extended(tensors)
        else:
            seed = self.config.train.seed
            tensors = self.fusion.carried_over(tensors, source, self.prepared, seed=seed)
        if weights := self.fusion.state_dict():
            missing = [n for n in self.fusion.optional if n in weights and n not in tensors]
            tensors = tensors | {name: torch.zeros_like(weights[name]) for name in missing}
            shapes = {(name, tensor.shape) for name, tensor in tensors.items()}
            fitting = {(name, weight.shape) for name, weight in weights.items()}
            if wrong := sorted({name for name, _ in shapes ^ fitting}):
                raise UserError(
                    f"The fusion weights in {folder} do not fit this configuration: "
                    f"{', '.join(wrong[:3])}."
                )
            self.fusion.load_state_dict(tensors)
        if borrowed_changed(folder, manifest):
            # what was learnt and weighed with other adapters says nothing about these
            LOGGER.warning("adapters changed", extra={"fields": {"checkpoint": str(folder)}})
            for task in POOLED:
                self.fusion.set_weight(task, 0.0)

    def take_over(self, folder: Path) -> dict:
        """Serve the weights and the calibration that a checkpoint has by now; its manifest.

        The tables stay: training does not change those that serve. UserError when the checkpoint
        is damaged or of other data.
        """
        manifest = checked_manifest(folder, self.prepared)
        self.load_weights(folder)
        self.calibration = {k: tuple(v) for k, v in manifest["calibration"].items()}
        self.lora.eval()
        self.fusion.eval()
        self.lora.fold(self.engine.dtype)
        self.engine.forget_decoders()
        return manifest

    @classmethod
    def load(
        cls,
        folder: Path,
        prepared: Prepared,
        *,
        source: Prepared | None = None,
        knowledge: Knowledge | None = None,
        quantization: str = "nf4",
        device: str | None = None,
    ) -> "System":
        """Load a checkpoint for serving.

        Parameters
        ----------
        prepared
            The data it was trained on, or other data with histories of the same kind.
        source, knowledge
            For other data: those it was trained on, and tables fitted on the other data.

        Raises
        ------
        UserError
            When a file is missing or damaged, the checkpoint belongs to other data or to another
            backbone, or its method cannot be used on other items; the text says which.
        """
        folder = Path(folder)
        manifest = checked_manifest(folder, source or prepared)
        if source is not None:
            # the prompt uses the words that the checkpoint was trained with
            prepared = replace(prepared, domain=source.domain)
        if knowledge is None:
            knowledge = knowledge_of(prepared).load(folder / COLLABORATIVE_FILE, prepared)
        config = RunConfig.model_validate(manifest["config"])
        name = config.backbone.name
        if config.lora.full:
            # trained weights cannot be those that other checkpoints share, nor in 4 bits
            model = load_backbone(name, dense_precision(device), device)
        else:
            model = shared_backbone(name, quantization, device)
        system = cls(config, prepared, knowledge, model, load_tokenizer(name))
        if system.backbone_hash != manifest["hashes"]["backbone"]:
            raise UserError(
                f"The checkpoint {folder} belongs to another backbone than the '{name}' available; "
                "remove the cached backbone and start again, or train for this one."
            )
        system.load_weights(folder, source)
        system.calibration = {k: tuple(v) for k, v in manifest["calibration"].items()}
        system.lora.eval()
        system.fusion.eval()
        system.lora.fold(system.engine.dtype)
        return system


def _facts(prepared: Prepared, tags: int) -> list[str]:
    """The first director and some tags of every item; empty texts where prompts show no facts."""
    if prepared.facts is None or not tags:
        return [""] * prepared.n_items
    return [
        ", ".join([*(f"by {name}" for name in directors[:1]), *of_item[:tags]])
        for directors, of_item in zip(prepared.facts.directors, prepared.facts.tags, strict=True)
    ]


def _titles(prepared: Prepared, config: RunConfig) -> list[str]:
    """Titles as the prompt shows them: their own, or in control runs shuffled or none."""
    if config.prompt.titles == "none":
        return ["a film"] * prepared.n_items
    if config.prompt.titles == "shuffled":
        order = np.random.default_rng(0).permutation(prepared.n_items)
        return [prepared.titles[i] for i in order]
    return prepared.titles
