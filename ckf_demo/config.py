"""One typed configuration for a run, read from TOML."""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ckf_demo.runtime.errors import UserError

TaskName = Literal["rating", "ctr", "ranking", "explanation"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    dataset: str = "ml-100k"
    """A data set that `ckf prepare` knows."""
    # what follows stands in a dump only where it differs, so that older configurations keep theirs
    liked_from: float = Field(4.0, gt=1, le=5, exclude_if=lambda value: value == 4.0)
    """From how many stars on a film counts as liked."""
    core: int = Field(0, ge=0, exclude_if=lambda value: value == 0)
    """Users and items with at least so many interactions with each other are kept; 0 for all."""
    split: Literal["own", "leave-last-out"] = Field("own", exclude_if=lambda value: value == "own")
    """The source's split, or one in time where it has none; or each user's last interaction for
    test, the one before for validation."""


class BackboneConfig(Section):
    name: str = "SmolLM2-135M-Instruct"
    """The pinned backbone, a hub id, or a local folder of any Llama-family causal LM."""


class LoraConfig(Section):
    """Multi-LoRA: W₀ + B_share A_share + B_t A_t."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    shared_targets: tuple[str, ...] = ("k_proj", "v_proj", "o_proj")
    """Weights with the shared update, active on every token."""
    task_targets: tuple[str, ...] = ("q_proj", "down_proj")
    """Weights with one update per task, active on branch tokens only; empty for none."""
    full: bool = Field(False, exclude_if=lambda value: value is False)
    """Full fine-tuning: all weights of the backbone are trained, without any adapter. A checkpoint
    then holds them all."""


class FusionConfig(Section):
    method: str = "ckf"
    """A registered fusion method; see `ckf methods`."""
    hidden: int = 32
    """Width of the attention over the history and of the meta-networks."""
    dropout: float = 0.1
    """On the bridged embeddings."""
    bridges: Literal["personal", "static", "user", "item", "none"] = "personal"
    """Made for each person by meta-networks; one learned map for all, as in CoLLM; or a personal
    one for the user or the item alone, or for neither, the others being the identity."""
    embeddings: Literal["factors", "sequential", "graph"] = Field(
        "factors", exclude_if=lambda value: value == "factors"
    )
    """CKF, CoRA, CoLLM: where e_u and e_v come from: matrix factorisation, the states and items of
    a sequential model, or LightGCN's graph."""
    sequential: Literal["sasrec", "gru4rec", "nextitnet"] = Field(
        "sasrec", exclude_if=lambda value: value == "sasrec"
    )
    """Which sequential model: A-LLMRec's, and with sequential embeddings the others'."""
    blocks: int = 2
    """CoRA: blocks of self-attention, cross-attention and feed-forward over its queries."""
    queries: int = 4
    """CoRA: learnable queries."""
    update_rank: int = 2
    """CoRA: rank of the weight update."""
    update_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """CoRA: which weights get an update (its Table 4)."""
    update_every: int = 3
    """CoRA: every how many layers have one."""
    matching: bool = True
    """A-LLMRec: whether item and text embeddings are matched in stage 1."""
    item_reconstruction: bool = True
    text_reconstruction: bool = True
    joint: bool = True
    """A-LLMRec: whether tokens come from the joint space; otherwise from SASRec's own."""
    out_of_fold: bool = True
    """Whether labels behind the features of training rows leave these rows out (for likes)."""
    prior: Literal["deep", "score"] = "deep"
    """What the collaborative signal says alone: a small network on all pair features, or the first
    of them, a score, on a fitted scale."""


class PromptConfig(Section):
    window: int = 24
    """At most this many history films are shown."""
    block: int = 12
    """The window moves by this many, so that prefixes stay shared while a history grows."""

    question_first: tuple[Literal["ctr", "ranking"], ...] = ("ranking",)
    """Tasks whose question stands before the film, which is then named by its title alone."""
    cloze: Literal["", "relevance", "emotion", "action", "utility"] = Field(
        "", exclude_if=lambda value: not value
    )
    """Prompt4NR: the blank that is filled in for CTR (`ckf_demo.tasks.cloze`)."""
    examples: int = Field(0, ge=0, exclude_if=lambda value: value == 0)
    """Worked examples from the training part before each prompt (`ckf_demo.tasks.examples`)."""
    titles: Literal["own", "shuffled", "none"] = "own"
    """Titles as they are; of other items, as a control of what was memorised; or ids only."""


class TrainConfig(Section):
    tasks: tuple[TaskName, ...] = ("rating", "ctr", "ranking", "explanation")
    users_share: float = Field(1.0, gt=0, le=1)
    """Share of training users whose rows the language model learns from."""
    steps: int = Field(1200, ge=0)
    """Packed user sequences; 0 where nothing is trained."""
    accumulate: int = 2
    """Sequences per optimiser step."""
    rows: int = 8
    """Target rows per sequence for rating and CTR."""
    choices: int = 2
    """Ranking groups per sequence: one film that was liked next, against ``negatives``."""
    negatives: int = 5
    adapter_rate: float = 6e-4
    fusion_rate: float = 2e-3
    own_weight: float = 1.0
    """Weight of the loss of the language model's own answer, before it is pooled with the prior."""
    alignment: float = 1.0
    """Weight of its divergence from the prior's answer."""
    within_user: float = 0.0
    """Weight of a loss on the order of liked before disliked items of one person, for CTR."""
    weight_decay: float = 0.01
    warmup: float = 0.05
    """Share of the steps."""
    text_first: float = 0.0
    """Share of the steps in which the adapters learn from text alone, to be held afterwards while
    the fusion learns (CoLLM's two-step tuning); 0 for the curriculum."""
    adapters_from: str = ""
    """Checkpoint whose adapters are taken and held, while the fusion alone learns: the second of
    the two steps, where a text-only checkpoint has made the first."""
    curriculum_middle: float = 0.15
    """Where the sigmoid from text-only to collaborative prompts stands at one half."""
    curriculum_width: float = 0.05
    text_share: float = 0.15
    """Share of text-only sequences that stays to the end, for people without any signal."""
    drop_profile: float = 0.3
    drop_history: float = 0.35
    """Share of sequences whose history is cut to its last 0, 1, 3 or 10 films."""
    keep_taste: float = 0.3
    hide_title: float = 0.5
    """Share of candidates shown by year and genres only: a title is an item id in disguise."""
    show_summaries: float = Field(0.0, ge=0, le=1, exclude_if=lambda value: value == 0.0)
    """Share of explanations that are learnt with a summary of the item beside what others wrote
    (`ckf_demo.tasks.explanations.evidence`)."""
    pool_on_validation: bool = False
    """Whether the weight of the language model in the pool for CTR is fitted on validation rows,
    together with the calibration, instead of in training."""
    validate_every: int = 150
    validation_sequences: int = 60
    select_on: Literal["pooled", "own"] = "pooled"
    """Whose validation loss chooses the weights: the answers as they are given, or the language
    model's own before they are pooled with the prior."""
    patience: int = 3
    """Validations without improvement before stopping."""
    calibration_rows: int = 2000
    """Validation rows on which the CTR logit is calibrated."""
    ranking_steps: int = 0
    """Sequences of a stage that trains the ranking adapter alone, all else held."""
    ranking_size: int = 4
    """Ranking groups per sequence of that stage."""
    ranking_rate: float = 6e-4
    wording_steps: int = 400
    """Sequences of a last stage that trains the explanation adapter alone, all else held."""
    wording_size: int = 10
    """Explanations per sequence of that stage."""
    wording_rate: float = 1e-3
    seed: int = 0


class RunConfig(Section):
    """Everything that decides a training run."""

    name: str
    data: DataConfig = Field(default_factory=DataConfig)
    backbone: BackboneConfig = Field(default_factory=BackboneConfig)
    lora: LoraConfig = Field(default_factory=LoraConfig)
    fusion: FusionConfig = Field(default_factory=FusionConfig)
    prompt: PromptConfig = Field(default_factory=PromptConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)

    @classmethod
    def load(cls, path: Path) -> "RunConfig":
        """Read a TOML file; with ``base``, a path beside it, only what differs from that file.

        Raises
        ------
        UserError
            When a file is missing, not TOML, or has an unknown or ill-typed field.
        """
        path = Path(path)
        try:
            return cls.model_validate(_read_toml(path))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{path}: {where}: {first['msg']}") from error


def _read_toml(path: Path) -> dict:
    """The fields of a file over those of its base."""
    if not path.exists():
        known = ", ".join(sorted(str(p) for p in path.parent.glob("*.toml"))) or "none"
        raise UserError(f"No configuration at {path}; there: {known}.")
    try:
        fields = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
    base = fields.pop("base", None)
    if base is None:
        return fields
    merged = _read_toml(path.parent / str(base))
    for name, value in fields.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = merged[name] | value if both else value
    return merged
