"""The ``[train]`` section: what is trained, on what and for how long."""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ckf_demo.runtime.section import Section
from ckf_demo.tasks.registry import TASKS, known_task


class TrainConfig(Section):
    """Configuration of `ckf_demo.training.loop.Run` and its stages."""

    tasks: tuple[Annotated[str, AfterValidator(known_task)], ...] = tuple(TASKS)
    """Tasks that are trained, of `ckf_demo.tasks.registry.TASKS`."""
    users_share: float = Field(1.0, gt=0, le=1)
    """Share of training users whose rows the language model learns from, above 0 up to 1."""
    steps: int = Field(1200, ge=0)
    """Packed user sequences of the joint stage; 0 where nothing is trained."""
    accumulate: int = 2
    """Sequences per optimiser step."""
    rows: int = 8
    """Target rows per sequence for rating and CTR."""
    choices: int = 2
    """Ranking groups per sequence: one item that was liked next, against ``negatives``."""
    negatives: int = 5
    """Sampled items per ranking group, which the user did not choose."""
    adapter_rate: float = 6e-4
    """Peak learning rate of the adapters."""
    fusion_rate: float = 2e-3
    """Peak learning rate of the fusion."""
    own_weight: float = 1.0
    """Weight of the loss of the language model's own answer, before it is pooled with the prior."""
    alignment: float = 1.0
    """Weight of its divergence from the prior's answer."""
    within_user: float = 0.0
    """Weight of a loss on the order of liked before disliked items of one user, for CTR."""
    weight_decay: float = 0.01
    """AdamW's weight decay in the joint stage."""
    warmup: float = 0.05
    """Share of the steps in which the rate rises to its peak, 0 to 1."""
    text_first: float = 0.0
    """Share of the steps in which the adapters learn from text alone. They are then frozen while
    the fusion learns (CoLLM's two-step tuning). 0 for the curriculum."""
    adapters_from: str = ""
    """Folder of a checkpoint whose adapters are loaded and frozen while only the fusion learns:
    the second of the two steps, after a text-only checkpoint. Empty for none."""
    curriculum_middle: float = 0.15
    """Share of the steps at which half of the prompts are text-only: the sigmoid's middle."""
    curriculum_width: float = 0.05
    """Width of the sigmoid, as a share of the steps."""
    text_share: float = 0.15
    """Share of text-only sequences at the end of training, for users without any signal."""
    drop_profile: float = 0.3
    """Share of sequences without the user's profile."""
    drop_history: float = 0.35
    """Share of sequences whose history is cut to its last 0, 1, 3 or 10 items."""
    keep_taste: float = 0.3
    """Share of sequences with a taste line."""
    hide_title: float = 0.5
    """Share of candidates shown without their title, which is an item id in disguise."""
    show_summaries: float = Field(0.0, ge=0, le=1, exclude_if=lambda value: value == 0.0)
    """Share of explanations that are learnt with a summary of the item beside what others wrote
    (`ckf_demo.tasks.explanations.evidence`)."""
    pool_on_validation: bool = False
    """Whether the weight of the language model in the pool for CTR is fitted on validation rows,
    together with the calibration, instead of in training."""
    validate_every: int = 150
    """Sequences between two validations."""
    validation_sequences: int = 60
    """Sequences on which validation losses are measured."""
    select_on: Literal["pooled", "own"] = "pooled"
    """The validation loss that chooses the weights: that of the pooled answers, or that of the
    language model's own answers before pooling with the prior."""
    patience: int = 3
    """Validations without improvement before the joint stage stops."""
    calibration_rows: int = 2000
    """Validation rows on which the CTR logit is calibrated, at most."""
    ranking_steps: int = 0
    """Sequences of a stage that trains only the ranking adapter; 0 for none."""
    ranking_size: int = 4
    """Ranking groups per sequence of that stage."""
    ranking_rate: float = 6e-4
    """Peak learning rate of that stage."""
    wording_steps: int = 400
    """Sequences of a stage that trains only the explanation adapter; 0 for none."""
    wording_size: int = 10
    """Explanations per sequence of that stage."""
    wording_rate: float = 1e-3
    """Peak learning rate of that stage."""
    retrievers: bool = Field(True, exclude_if=lambda value: value)
    """Whether further retrievers are fitted for the candidate stage of data with ratings, which
    takes minutes and as much room again as the other tables."""
    seed: int = 0
    """Seed of all random draws in training."""

    def text_probability(self, progress: float) -> float:
        """Share of text-only sequences at ``progress`` in 0–1: a sigmoid with a floor."""
        gate = (progress - self.curriculum_middle) / self.curriculum_width
        return max(self.text_share, 1.0 / (1.0 + math.exp(min(gate, 50.0))))

    def rate_factor(self, progress: float) -> float:
        """Learning rate relative to its peak: linear warm-up, then a cosine to a twentieth."""
        if progress < self.warmup:
            return progress / self.warmup
        rest = (progress - self.warmup) / (1.0 - self.warmup)
        return 0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * min(rest, 1.0)))

    def joint_rate_factor(self, kind: str, progress: float) -> float:
        """`rate_factor` of ``"adapters"`` or ``"fusion"`` in the joint stage.

        With `text_first` each has a step of its own, and is frozen in the other's.
        """
        if not self.text_first:
            return self.rate_factor(progress)
        first = progress < self.text_first
        if first != (kind == "adapters"):
            return 0.0
        share = self.text_first if first else 1 - self.text_first
        return self.rate_factor((progress - (0 if first else self.text_first)) / share)
