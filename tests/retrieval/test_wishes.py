"""Sentences held against a catalogue: what fulfils them, what is ruled out, what is said of it."""

import numpy as np
import pytest

from ckf_demo.retrieval.simulated import NewcomerWords
from ckf_demo.retrieval.texts import standardised
from ckf_demo.retrieval.wishes import NAMED_LIKED, TasteMatcher
from support.films import films
from support.tiny import Encoder

DATA = films()


@pytest.fixture
def matcher() -> TasteMatcher:
    matcher = TasteMatcher(DATA)
    rng = np.random.default_rng(0)
    matcher.index.vectors = rng.normal(size=(DATA.n_items, 4)).astype(np.float32)
    matcher.index.encoder = Encoder()
    return matcher


def titles(mask: np.ndarray) -> list[str]:
    return [title for title, holds in zip(DATA.titles, mask, strict=True) if holds]


def test_what_fulfils_a_sentence_comes_first(matcher):
    match = matcher.match("comedies with Cary Grant, no secret agents")
    assert match is not None
    assert titles(match.fulfilling) == ["To Catch a Thief"]
    assert titles(match.ruled_out) == ["North by Northwest"]
    order = np.argsort(-match.scores)
    assert (order[0], order[-1]) == (1, 2)
    assert match.evidence[1] > 0 > match.evidence[2]


def test_a_tone_orders_and_does_not_exclude(matcher):
    match = matcher.match("gentle romances")
    assert match is not None
    assert match.fulfilling.sum() == 3
    assert DATA.titles[int(np.argmax(match.scores))] == "The Postman"


def test_what_a_title_is_like_leaves_the_title_out(matcher):
    match = matcher.match("like Rear Window")
    assert match is not None
    assert titles(match.named) == ["Rear Window"]
    assert not match.ruled_out.any()
    assert titles(match.excluded) == ["Rear Window"]
    assert not match.fulfilling[0]
    assert np.argmin(match.scores) == 0


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("like Jaws", [("Jaws", NAMED_LIKED)]),
        ("nothing like Jaws", [("Jaws", 2.0)]),
        ("like Jaws but not like Annie Hall", [("Jaws", NAMED_LIKED), ("Annie Hall", 2.0)]),
        ("westerns, no romance", []),
    ],
)
def test_what_a_sentence_names_is_liked_or_not(matcher, sentence, said):
    match = matcher.match(sentence)
    assert match is not None
    assert [(DATA.titles[item], stars) for item, stars in match.opinions] == said


def test_words_say_of_every_item_how_well_it_fits_and_whether_it_is_ruled_out(matcher):
    match = matcher.match("comedies with Cary Grant, no secret agents")
    assert match is not None
    fit, likeness, ruled_out = match.features.T
    assert match.features.dtype == np.float32
    assert (fit[1], fit[5]) == (1, -1)
    assert fit.min() >= -1 and fit.max() <= 1
    np.testing.assert_array_equal(likeness, match.similarity)
    np.testing.assert_array_equal(ruled_out, match.ruled_out)
    # a sentence without wishes fits nothing and nothing not
    match = matcher.match("like Jaws")
    assert match is not None
    assert not match.features[:, [0, 2]].any()
    assert match.features[:, 1].any()


@pytest.mark.parametrize("sentence", ["", "asdf qwerty", "hello how are you"])
def test_nonsense_matches_nothing(matcher, sentence):
    assert matcher.match(sentence) is None


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("westerns by Tarkovsky", ["Nothing here is by or with Tarkovsky."]),
        ("French westerns", ["No films here fulfil all of it: France and Western."]),
        ("westerns xyzzy", ["Not understood: “xyzzy”."]),
        ("westerns", []),
    ],
)
def test_what_cannot_be_answered_is_said(matcher, sentence, said):
    match = matcher.match(sentence)
    assert match is not None
    messages = match.messages("films")
    assert len(messages) == len(said)
    assert all(begins in message for begins, message in zip(said, messages, strict=True))


def test_standard_scores_are_bounded():
    values = standardised(np.array([0.0] * 99 + [1000.0]))
    assert (values.min(), values.max()) == pytest.approx((-0.1005, 3.0), abs=1e-3)
    assert not standardised(np.ones(4)).any()


def test_what_newcomers_say_is_read_as_what_visitors_say_is(matcher):
    """Their words are the features of their sentence, and they name only what they liked."""
    writer, rng = NewcomerWords(matcher), np.random.default_rng(0)
    named_ever: set[int] = set()
    for user in range(DATA.n_users):
        rows = DATA.history.rows_of(user)[:8]
        for _ in range(5):
            sentence, words, named = writer.words(rows, rng)
            assert sentence
            match = matcher.match(sentence)
            assert match is not None and words is not None
            np.testing.assert_array_equal(words, match.features)
            assert {item for item, stars in match.opinions if stars == NAMED_LIKED} == set(named)
            assert set(named) <= set(DATA.item[rows[DATA.liked[rows]]])
            named_ever |= set(named)
    assert len(named_ever) > 3
    assert writer.words(rows[:0], rng) == ("", None, ())


def test_sentences_of_newcomers_name_only_what_they_liked(matcher):
    writer = NewcomerWords(matcher)
    rng = np.random.default_rng(1)
    liked, disliked = np.array([3, 4]), np.array([0, 1])
    sentences = {writer.sentence(liked, disliked, rng) for _ in range(50)}
    assert len(sentences) > 10
    others = "Allen Spielberg sharks Jaws Postman France".split()
    assert not [text for text in sentences for name in others if name in text]
    assert writer.sentence(np.array([], int), disliked, rng) == ""
