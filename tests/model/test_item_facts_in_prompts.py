"""Prompts show who made an item and what it is about, where the configuration wants that."""

import numpy as np
import pytest

from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.model.system import System
from support.films import films
from support.tiny import tiny_config, tiny_data, tiny_system

DATA = films()
JAWS = 5
FACTS = "by Steven Spielberg, sharks, beach, frightening"


def system_of(**prompt) -> System:
    config = tiny_config(prompt={"window": 12, "block": 4, **prompt})
    return tiny_system(config, DATA, CollaborativeKnowledge.fit(DATA))


def question(system: System, task: str, *, hide_title: bool = False) -> str:
    branch = system.writer.branch(task, JAWS, 3, with_tokens=False, hide_title=hide_title)
    return system.writer.decode(branch.ids)


@pytest.mark.parametrize(
    ("tags", "shown"),
    [(0, ""), (2, ", by Steven Spielberg, sharks, beach"), (4, f", {FACTS}")],
)
def test_a_question_names_director_and_as_many_tags_as_configured(tags, shown):
    system = system_of(tags=tags)
    assert system.writer.item_text(JAWS) == f"Jaws, 1975, Action, Horror{shown}"
    assert f" and Jaws, 1975, Action, Horror{shown}\n" in question(system, "rating")
    assert f" a film, 1975, Action, Horror{shown}\n" in question(system, "rating", hide_title=True)
    # a ranking names items by title alone
    assert question(system, "ranking") == "Viewer watches next: Jaws?"


def test_items_without_facts_are_shown_without():
    writer = system_of(tags=4).writer
    assert writer.item_text(DATA.titles.index("Silence")) == "Silence, 1926, Drama"
    plain = tiny_system(tiny_config(prompt={"window": 12, "block": 4, "tags": 4}), tiny_data())
    assert plain.writer.item_text(0) == tiny_system().writer.item_text(0)


def test_a_shown_history_has_titles_alone():
    prefixes = [
        system.writer.prefix(np.array([JAWS]), np.array([4.0])).ids
        for system in (system_of(), system_of(tags=4))
    ]
    assert prefixes[0] == prefixes[1]


def test_tags_are_left_out_of_the_hash_of_configurations_without():
    plain = tiny_config().model_dump(mode="json")
    assert "tags" not in plain["prompt"]
    assert tiny_config(prompt={"tags": 4}).model_dump(mode="json")["prompt"]["tags"] == 4
