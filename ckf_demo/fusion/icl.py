"""ICL: the frozen backbone with worked examples in the prompt (as in arXiv 2305.08845)."""

from ckf_demo.fusion.text import TextOnly


class InContext(TextOnly):
    """`ckf_demo.fusion.llm_only` with `PromptConfig.examples` answered questions before it."""

    name = "icl"
    label = "ICL"
    summary = "the frozen backbone with worked examples in the prompt; nothing is trained"
    paper = "2305.08845"
