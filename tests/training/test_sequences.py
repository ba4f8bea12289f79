"""What a training sequence shows: only what its user had rated before each question."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.retrieval.simulated import NewcomerWords
from ckf_demo.retrieval.wishes import NAMED_LIKED, TasteMatcher
from ckf_demo.training.explanation_stage import draw_explanations
from ckf_demo.training.sequences import PackedSequence, Packer, segments_of
from support.films import films
from support.tiny import Encoder
from support.training import CONFIG, DATA, SEGMENTS, draws, packer, shared_system

# a segment, and a seed of what is drawn of it
drawn = given(st.sampled_from(SEGMENTS), st.integers(0, 10_000))
MOMENT = {(u, v): t for u, v, t in zip(DATA.user, DATA.item, DATA.timestamp, strict=True)}
STARS = {(u, v): r for u, v, r in zip(DATA.user, DATA.item, DATA.rating, strict=True)}


def shown_to(prefix_ids: list[int], at: int) -> list[tuple[int, float]]:
    """(item, stars) of the history lines among the first ``at`` tokens."""
    text = shared_system().writer.tokenizer.decode(prefix_ids[:at])
    lines = re.findall(r"^([\d.]+) Film (\d+)$", text, re.MULTILINE)
    assert text.endswith("\n")
    return [(int(item) - 1, float(stars)) for stars, item in lines]


def moments(user: int, sequence: PackedSequence) -> list[int]:
    """When each question is asked: the time of its target, or of its group's chosen film."""
    out, group = [], CONFIG.train.negatives + 1
    asked = [q for q in sequence.questions if q.task == "ranking"]
    for question in sequence.questions:
        item = question.item
        if question.task == "ranking":
            place = next(i for i, q in enumerate(asked) if q is question)
            item = asked[place - place % group].item
        out.append(MOMENT[user, item])
    return out


@settings(max_examples=25)
@given(st.sampled_from(SEGMENTS), st.integers(0, 10_000), st.booleans())
def test_no_question_sees_its_own_moment_or_anything_later(segment, seed, augment):
    sequence = packer().draw(segment, np.random.default_rng(seed), text_only=False, augment=augment)
    prefix = shared_system().writer.prefix(
        sequence.items[sequence.shown_from :], sequence.ratings[sequence.shown_from :]
    )
    for question, moment in zip(sequence.questions, moments(segment.user, sequence), strict=True):
        visible = sequence.items[: question.length]
        assert question.item not in visible
        assert all(MOMENT[segment.user, item] < moment for item in visible)
        shown = shown_to(prefix.ids, prefix.ends[question.length - sequence.shown_from])
        assert [item for item, _ in shown] == list(visible[sequence.shown_from :])
        assert len(shown) <= CONFIG.prompt.window
        assert all(STARS[segment.user, item] == stars for item, stars in shown)
        if question.task in ("rating", "explanation"):
            assert question.target == STARS[segment.user, question.item]
        if question.task == "ctr":
            assert question.target == (STARS[segment.user, question.item] >= 4)
        named = re.findall(r"Film (\d+)", question.facts + question.text)
        known = {item for item, _ in shown} | {question.item}
        assert {int(n) - 1 for n in named} <= known


@settings(max_examples=20)
@drawn
def test_taste_and_features_are_of_the_past(segment, seed):
    """Other ratings at and after the first target's moment leave all but the answers unchanged."""
    sequence = packer().draw(segment, np.random.default_rng(seed), text_only=False, augment=True)
    first = min(moments(segment.user, sequence), default=0)
    later = (DATA.user == segment.user) & (DATA.timestamp >= first)
    other = Packer(
        replace(DATA, rating=np.where(later, 6 - DATA.rating, DATA.rating)),
        CONFIG.train.model_copy(update={"tasks": ("rating", "ctr")}),
        CONFIG.prompt,
        packer().knowledge,
        packer().liked_together,
    )
    again = other.draw(segment, np.random.default_rng(seed), text_only=False, augment=True)
    assert again.taste == sequence.taste
    assert again.profile == sequence.profile
    earliest = min(q.length for q in sequence.questions)
    np.testing.assert_array_equal(again.ratings[:earliest], sequence.ratings[:earliest])


@settings(max_examples=20)
@drawn
def test_ranking_puts_one_liked_film_against_unseen_ones(segment, seed):
    sequence = packer().draw(segment, np.random.default_rng(seed), text_only=False, augment=True)
    asked = [q for q in sequence.questions if q.task == "ranking"]
    group = CONFIG.train.negatives + 1
    assert len(asked) % group == 0
    own = DATA.history.rows_of(segment.user)
    rated = set(DATA.item[own[DATA.split[own] == 0]])
    for start in range(0, len(asked), group):
        chosen, *others = asked[start : start + group]
        assert STARS[segment.user, chosen.item] >= 4
        assert not rated & {q.item for q in others}
        assert len({q.item for q in asked[start : start + group]}) == group
        assert {q.length for q in others} == {chosen.length}


def test_anything_may_be_missing_from_a_training_sequence():
    sequences = draws(200)
    assert {bool(s.profile) for s in sequences} == {True, False}
    assert {bool(s.taste) for s in sequences} == {True, False}
    assert {len(s.items) for s in sequences} >= {0, 1, 3}
    assert {q.hide_title for s in sequences for q in s.questions} == {True, False}
    assert all(len({q.item for q in s.questions if q.task == "ctr"}) <= 4 for s in sequences)
    # validation hides nothing
    for sequence in draws(60, augment=False):
        assert sequence.profile.startswith("30, ")
        assert not any(q.hide_title for q in sequence.questions)


@settings(max_examples=25)
@drawn
def test_wordings_speak_of_what_had_been_rated_before_them(segment, seed):
    sequence = draw_explanations(packer(), segment, np.random.default_rng(seed), 4)
    assert len(sequence.questions) == 4
    assert 0 <= sequence.shown_from <= len(sequence.items)
    begins = min(MOMENT[segment.user, DATA.item[row]] for row in segment.rows)
    ends = max(MOMENT[segment.user, DATA.item[row]] for row in segment.rows)
    known = [MOMENT[segment.user, item] for item in sequence.items]
    assert known == sorted(known)
    assert not known or known[-1] < ends
    own = DATA.history.rows_of(segment.user)
    hidden = set(DATA.item[own[DATA.split[own] != 0]])
    for question in sequence.questions:
        assert question.task == "explanation"
        assert question.length == len(sequence.items)
        assert question.item not in set(sequence.items) | hidden
        assert MOMENT.get((segment.user, question.item), ends) >= begins
        assert question.facts.startswith("Ties: ")
        assert question.text


def test_middling_verdicts_are_worded_most():
    rng = np.random.default_rng(0)
    texts = [
        q.facts
        for i in range(60)
        for q in draw_explanations(packer(), SEGMENTS[i % 5], rng, 4).questions
    ]
    shares = {v: np.mean([f"Verdict: {v}." in t for t in texts]) for v in ("good", "mixed", "poor")}
    assert shares["mixed"] == pytest.approx(0.5, abs=0.12)
    assert shares["good"] > 0.1
    assert shares["poor"] > 0.1


# Taste sentences

FILMS = films()
FILM_SEGMENTS = segments_of(FILMS, FILMS.learning_rows(), CONFIG.prompt)


@pytest.fixture(scope="module")
def speaking() -> Packer:
    """A packer over a dozen films, whose users say what they like whenever they can."""
    matcher = TasteMatcher(FILMS)
    vectors = np.random.default_rng(0).normal(size=(FILMS.n_items, 4)).astype(np.float32)
    matcher.index.vectors, matcher.index.encoder = vectors, Encoder()
    # everybody rated nearly everything, so nothing is left to rank
    changes = {"keep_taste": 1.0, "drop_history": 0.7, "tasks": ("rating", "ctr")}
    return Packer(
        FILMS,
        CONFIG.train.model_copy(update=changes),
        CONFIG.prompt,
        CollaborativeKnowledge.fit(FILMS),
        lambda a, b: False,
        newcomers=NewcomerWords(matcher),
    )


def spoken(packer: Packer, n: int) -> list[tuple[int, PackedSequence]]:
    """Users and training sequences in which they say something."""
    rng = np.random.default_rng(0)
    drawn = [FILM_SEGMENTS[i % len(FILM_SEGMENTS)] for i in range(n)]
    sequences = [(s.user, packer.draw(s, rng, text_only=False, augment=True)) for s in drawn]
    return [(user, sequence) for user, sequence in sequences if sequence.taste]


def test_a_taste_names_only_what_its_user_had_liked_before(speaking):
    stars = {(u, v): r for u, v, r in zip(FILMS.user, FILMS.item, FILMS.rating, strict=True)}
    moment = {(u, v): t for u, v, t in zip(FILMS.user, FILMS.item, FILMS.timestamp, strict=True)}
    named_ever = 0
    sequences = spoken(speaking, 200)
    assert len(sequences) > 150
    for user, sequence in sequences:
        match = speaking.newcomers.matcher.match(sequence.taste)
        np.testing.assert_array_equal(sequence.words, match.features)
        begins = min(moment[user, q.item] for q in sequence.questions if q.task == "rating")
        for item, said in match.opinions:
            named_ever += 1
            assert said == NAMED_LIKED
            assert stars[user, item] >= 4
            assert moment[user, item] < begins
            # it counts like a rating, as what visitors name does
            assert item in sequence.items
        # what is known is of before, in order, each once
        known = [moment[user, item] for item in sequence.items]
        assert known == sorted(known)
        assert len(set(sequence.items)) == len(sequence.items)
        for question in sequence.questions:
            assert question.item not in sequence.items[: question.length]
    assert named_ever > 50


def test_a_taste_does_not_know_the_answers(speaking):
    """Other ratings at and after the first target leave what is said as it is."""
    segment = FILM_SEGMENTS[0]
    first = FILMS.timestamp[segment.rows].min()
    later = (FILMS.user == segment.user) & (FILMS.timestamp >= first)
    assert later.any()
    changed = replace(
        FILMS, rating=np.where(later, 6 - FILMS.rating, FILMS.rating).astype(np.float32)
    )
    other = replace(speaking, prepared=changed)
    said = set()
    for seed in range(20):
        one, two = (
            p.draw(segment, np.random.default_rng(seed), text_only=False, augment=True)
            for p in (speaking, other)
        )
        assert (one.taste, one.profile) == (two.taste, two.profile)
        np.testing.assert_array_equal(one.words, two.words)
        np.testing.assert_array_equal(one.items, two.items)
        said.add(one.taste)
    assert len(said) > 5


def test_validation_sequences_say_nothing(speaking):
    rng = np.random.default_rng(0)
    sequence = speaking.draw(FILM_SEGMENTS[0], rng, text_only=False, augment=False)
    assert sequence.taste == ""
    assert sequence.words is None
