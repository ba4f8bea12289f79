"""Explanations are judged sentence by sentence, and what is false goes."""

from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_demo.backbone.engine import Branch
from ckf_demo.inference.explaining import Background, Explanation, Judged
from ckf_demo.tasks.explanations.claims import check
from ckf_demo.tasks.explanations.facts import Film
from ckf_demo.tasks.explanations.verified import mentions, sentences, verified

FARGO = Film("1", "Fargo", 1996, ("Crime", "Drama"))
HEAT = Film("2", "Heat", 1995, ("Action", "Crime"))
DANCE = Film("3", "Shall We Dance?", 1996, ("Comedy",))
OPUS = Film("4", "Mr. Holland's Opus", 1995, ("Drama",))
HISTORY = [(HEAT, 5.0), (DANCE, 2.0), (OPUS, 4.0)]
CATALOGUE = tuple(film.title for film in (FARGO, HEAT, DANCE, OPUS))


def judged(text: str):
    def read(words: str):
        return check(words, HISTORY, FARGO, 4.2, lambda a, b: {a, b} == {"1", "2"}, CATALOGUE)

    return verified(text, CATALOGUE, read)


def test_true_sentences_are_supported_and_name_what_they_rest_on():
    one, two = judged("Fargo is a Crime film, as is Heat. The same people like Heat.")
    assert one.supported and two.supported
    assert one.films == two.films == ("Heat",)
    assert {claim.kind for claim in one.claims} == {"genre"}
    assert [claim.kind for claim in two.claims] == ["fans"]


def test_false_sentences_are_left_out_and_what_follows_stands():
    text = "Fargo is a Western. It is much like Silver Harbor. You rated Heat 5."
    found = judged(text)
    assert [own.supported for own in found] == [False, False, True]
    # what leans on a sentence that was left out has nothing to stand on
    found = judged("You rated Heat 1. The same people like it.")
    assert [own.supported for own in found] == [False, False]
    assert all(own.supported for own in judged("You rated Heat 5. The same people like it."))


def test_stops_within_titles_end_no_sentence():
    both = ["You rated Mr. Holland's Opus 4.", "It beats Shall We Dance? as Drama goes."]
    assert sentences(" ".join(both), CATALOGUE) == both
    assert sentences("Predicted: 4.2 stars. Fine", CATALOGUE) == ["Predicted: 4.2 stars.", "Fine"]
    assert sentences("", CATALOGUE) == []


@given(st.text(st.sampled_from("AFargo. !?Heat 5"), max_size=80))
def test_sentences_lose_nothing_but_the_space_between_them(text):
    found = sentences(text, CATALOGUE)
    assert "".join(found).replace(" ", "") == text.replace(" ", "")
    for own in judged(text):
        assert own.text == own.text.strip()


def test_a_title_within_another_one_is_not_mentioned():
    titles = ["Batman", "Batman Returns", "M"]
    assert mentions("Batman Returns is for Mary.", titles) == {"Batman Returns"}
    assert mentions("Batman Returns, and Batman.", titles) == {"Batman Returns", "Batman"}
    assert mentions("M", titles) == {"M"} and mentions("M", []) == set()


def test_where_nothing_holds_something_true_is_said(monkeypatch):
    monkeypatch.setattr(Explanation, "_words", lambda *asked: iter(["Dull."]))

    def judge(text: str) -> list[Judged]:
        return [Judged(text, text != "Dull.")]

    prompt = None, Branch([], 0, "explanation"), None
    background = Background("", [], judge, words=(), otherwise="Nobody has written yet.")
    one = Explanation(None, prompt, background, None)
    assert list(one.written(None)) == ["Dull.", "Nobody has written yet."]
    assert one.text == "Nobody has written yet." and one.result["dropped"] == 1


@pytest.mark.parametrize(
    ("written", "stopped", "kept"),
    [
        ("It is good. It is near.", False, "It is good. It is near."),
        ("It is good. It has a", False, "It is good."),
        ("It has a", False, ""),
        # a visitor sees what stood there
        ("It is good. It has a", True, "It is good. It has a"),
    ],
)
def test_a_sentence_that_the_limit_cut_off_is_left_out(written, stopped, kept, monkeypatch):
    stop = Event()
    if stopped:
        stop.set()
    monkeypatch.setattr(Explanation, "_words", lambda *asked: iter([written]))

    def judge(text: str) -> list[Judged]:
        return [Judged(own, True) for own in sentences(text, ())]

    prompt = None, Branch([], 0, "explanation"), None
    one = Explanation(None, prompt, Background("", [], judge, words=()), None)
    assert list(one.written(stop)) == [written]
    assert one.draft == written and one.text == kept
    assert one.result["dropped"] == (kept != written)
