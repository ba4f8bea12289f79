"""The schedule over the steps of training: the curriculum and the learning rate."""

import math

from ckf_demo.training.config import TrainConfig


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


def joint_rate_factor(kind: str, progress: float, config: TrainConfig) -> float:
    """`rate_factor` of ``"adapters"`` or ``"fusion"`` in the joint stage.

    With `TrainConfig.text_first` each has a step of its own, and is frozen in the other's.
    """
    if not config.text_first:
        return rate_factor(progress, config)
    first = progress < config.text_first
    if first != (kind == "adapters"):
        return 0.0
    share = config.text_first if first else 1 - config.text_first
    return rate_factor((progress - (0 if first else config.text_first)) / share, config)
