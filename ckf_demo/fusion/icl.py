"""ICL: the frozen backbone with worked examples in the prompt (as in arXiv 2305.08845)."""

from ckf_demo.fusion.text import TextOnly


class InContext(TextOnly):
    """As `ckf_demo.fusion.llm_only`, behind `PromptConfig.examples` answered questions."""

    name = "icl"
    label = "ICL"
    summary = "the frozen backbone with worked examples in the prompt; nothing is trained"
    paper = "2305.08845"
