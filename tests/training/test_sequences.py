"""What a training sequence shows: only what its user had rated before each question."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.training.explanation_stage import draw_explanations
from ckf_demo.training.sequences import PackedSequence, Packer
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
