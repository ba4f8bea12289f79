"""Prompt4NR's clozes (arXiv 2304.05263): CTR as a blank to fill with one of two words.

The paper has four kinds of templates, by what the blank says of a news item and a reader:
relevance, emotion, action and utility. These are its discrete ones, in words about films.
"""

from dataclasses import replace

from ckf_demo.tasks import ctr
from ckf_demo.tasks.base import Task


def _cloze(cue: str, yes: str, no: str) -> Task:
    return replace(ctr.TASK, cue=cue, answers=(yes, no), lead="")


CLOZES: dict[str, Task] = {
    "relevance": _cloze("\nTo this viewer's taste the film is", " related", " unrelated"),
    "emotion": _cloze("\nTo this viewer the film is", " interesting", " boring"),
    "action": _cloze("\nDoes this viewer enjoy the film?", " yes", " no"),
    "utility": _cloze("\nFor this viewer the film is a choice that is", " good", " bad"),
}
"""By `PromptConfig.cloze`; the first word stands for yes."""
