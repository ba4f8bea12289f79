"""Prompt4NR: words alone, asked as a cloze whose blank is one of two answer words."""

from ckf_demo.fusion.text import TextOnly


class Prompt4NR(TextOnly):
    """Prompt learning for news recommendation, arXiv 2304.05263, for films.

    `PromptConfig.cloze` is the template. The paper tunes all of BERT, which fills blanks anywhere;
    here an adapter is tuned, and the blank is the last word.
    """

    name = "prompt4nr"
    label = "Prompt4NR"
    summary = "text-only prompts as a cloze with two answer words, one LoRA"
    paper = "2304.05263"
