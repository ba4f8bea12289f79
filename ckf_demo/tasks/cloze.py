"""Prompt4NR's clozes (arXiv 2304.05263): CTR as a blank to fill with one of two words.

The paper has four kinds of templates, by what the blank says of a news item and a reader:
relevance, emotion, action and utility; these are its discrete ones, in words about films.
"""

from ckf_demo.tasks.base import Task

CLOZES: dict[str, Task] = {
    "relevance": Task(
        "ctr", "Like", "\nTo this viewer's taste the film is", (" related", " unrelated")
    ),
    "emotion": Task("ctr", "Like", "\nTo this viewer the film is", (" interesting", " boring")),
    "action": Task("ctr", "Like", "\nDoes this viewer enjoy the film?", (" yes", " no")),
    "utility": Task(
        "ctr", "Like", "\nFor this viewer the film is a choice that is", (" good", " bad")
    ),
}
"""By `PromptConfig.cloze`; the first word stands for yes."""
