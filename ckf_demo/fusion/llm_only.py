"""LLM-Only: the frozen backbone asked in words, without any training."""

from ckf_demo.fusion.text import TextOnly


class LLMOnly(TextOnly):
    """The untrained language model's answers; `TrainConfig.steps` is 0."""

    name = "llm-only"
    label = "LLM-Only"
    summary = "the frozen backbone, asked in words; nothing is trained"
    paper = ""
