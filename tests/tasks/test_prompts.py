"""Prompts: their order, what they show, and that tokens add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ckf_demo.runtime.errors import UserError
from ckf_demo.tasks.domains import DOMAINS
from ckf_demo.tasks.prompts import (
    ITEM,
    USER,
    PromptConfig,
    PromptWriter,
    profile_text,
    taste_from,
    window_start,
)
from ckf_demo.tasks.registry import TASKS
from support.tiny import tiny_tokenizer

TITLES = ["Toy Story", "Fargo", "Das Boot", "Amélie", "Seven (Se7en)"]
YEARS = [1995, 1996, 1981, 2001, 0]
GENRES = [("Animation", "Comedy"), ("Crime", "Drama"), ("War",), (), ("Crime", "Thriller")]
TOKENIZER = tiny_tokenizer()
WRITER = PromptWriter(TOKENIZER, TITLES, YEARS, GENRES, PromptConfig())
END = TOKENIZER.eos_token_id

histories = st.lists(
    st.tuples(st.integers(0, len(TITLES) - 1), st.sampled_from([1, 2, 3, 3.5, 4, 5])), max_size=12
)


@given(st.integers(0, 500), st.integers(1, 40), st.integers(1, 40))
def test_the_window_moves_in_blocks_and_never_shows_too_much(length, window, block):
    config = PromptConfig(window=window, block=block)
    start, following = window_start(length, config), window_start(length + 1, config)
    shown = length - start
    assert start % block == 0
    assert shown <= window
    assert start == 0 or shown > window - block
    assert start == 0 or length > window
    assert following in (start, start + block)


@given(histories, st.sampled_from(["", "24, M, technician"]), st.sampled_from(["", "likes War"]))
def test_a_prefix_ends_where_each_line_ends(history, profile, taste):
    prefix = WRITER.prefix([i for i, _ in history], [r for _, r in history], profile, taste)
    assert len(prefix.ends) == len(history) + 1
    assert prefix.ends[-1] == len(prefix.ids)
    expected = DOMAINS["films"].openings["ratings"]
    expected += f"Viewer: {profile}\n" if profile else ""
    expected += f"Taste: {taste}\n" if taste else ""
    assert TOKENIZER.decode(prefix.ids[: prefix.ends[0]]) == expected
    for (item, rating), end in zip(history, prefix.ends[1:], strict=True):
        expected += f"{rating:g} {TITLES[item]}\n"
        assert TOKENIZER.decode(prefix.ids[:end]) == expected


@given(histories.filter(bool))
def test_a_longer_history_only_adds_to_the_prefix(history):
    items, ratings = [i for i, _ in history], [r for _, r in history]
    whole, shorter = WRITER.prefix(items, ratings), WRITER.prefix(items[:-1], ratings[:-1])
    assert whole.ids[: len(shorter.ids)] == shorter.ids
    assert whole.ends[:-1] == shorter.ends


def words(branch) -> str:
    """A branch's text with its slots marked."""
    marks = dict(zip(branch.slots, ("<u>", "<i>"), strict=False))
    return "".join(marks.get(i) or TOKENIZER.decode([t]) for i, t in enumerate(branch.ids))


@pytest.mark.parametrize("task", TASKS)
def test_the_order_of_a_prompt(task):
    prefix = WRITER.prefix([0, 2], [4.0, 2.5], "24, M, technician", "likes War")
    branch = WRITER.branch(task, 1, len(prefix.ids), with_tokens=True)
    assert TOKENIZER.decode(prefix.ids) + words(branch) == (
        "Films one viewer rated, oldest first, 1 (worst) to 5 (best).\n"
        "Viewer: 24, M, technician\n"
        "Taste: likes War\n"
        "4 Toy Story\n"
        "2.5 Das Boot\n"
        + (
            "Viewer<u> watches next: Fargo<i>?"
            if task == "ranking"
            else f"Viewer<u> and Fargo, 1996, Crime, Drama<i>{TASKS[task].cue}"
        )
    )
    assert branch.task == task
    assert branch.at == len(prefix.ids)
    assert branch.first_answer == len(branch.ids) - 1


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("hide_title", [True, False])
def test_branches_without_tokens_hold_no_slots(task, hide_title):
    branch = WRITER.branch(task, 1, 3, with_tokens=False, hide_title=hide_title)
    assert branch.slots == []
    assert END not in branch.ids
    film = "a film, 1996, Crime, Drama" if hide_title else "Fargo, 1996, Crime, Drama"
    if task == "ranking":
        film = film if hide_title else "Fargo"
        assert TOKENIZER.decode(branch.ids) == f"Viewer watches next: {film}?"
    else:
        assert TOKENIZER.decode(branch.ids) == f"Viewer and {film}{TASKS[task].cue}"


def test_candidates_of_a_ranking_share_all_words_but_the_title():
    branches = [WRITER.branch("ranking", item, 3, with_tokens=True) for item in (0, 1, 2)]
    lead = [*WRITER.tokens("Viewer"), END, *WRITER.tokens(TASKS["ranking"].lead)]
    assert all(b.ids[: len(lead)] == lead for b in branches)


def test_pieces_say_what_the_branch_holds():
    pieces = WRITER.pieces("explanation", 1, with_tokens=True, facts="Ties: none.")
    kinds = [kind for _, kind in pieces]
    assert kinds.index(USER) < kinds.index(ITEM)
    assert {kind for _, kind in WRITER.pieces("ctr", 1, with_tokens=False)} == {"text"}
    text = "".join({USER: "<u>", ITEM: "<i>"}.get(kind, piece) for piece, kind in pieces)
    branch = WRITER.branch("explanation", 1, 3, with_tokens=True, facts="Ties: none.")
    assert text == words(branch)
    assert text.endswith("<i>\nTies: none.\nWhy:")


def test_a_text_to_be_learnt_follows_the_cue():
    text = "You liked Fargo."
    branch = WRITER.branch("explanation", 1, 3, with_tokens=True, continuation=text)
    plain = WRITER.branch("explanation", 1, 3, with_tokens=True)
    target = WRITER.continuation(text)
    assert target[-1] == END
    assert TOKENIZER.decode(target[:-1]) == f" {text}"
    # the state at the cue's last token predicts the first one, and so on to the end
    assert branch.ids == plain.ids + target[:-1]
    assert branch.first_answer == len(plain.ids) - 1
    assert len(branch.ids) - branch.first_answer == len(target)


@pytest.mark.parametrize("item", range(len(TITLES)))
def test_films_are_described_by_what_is_known(item):
    text = WRITER.item_text(item)
    assert text.startswith(TITLES[item])
    assert (str(YEARS[item]) in text) == bool(YEARS[item])
    assert all(genre in text for genre in GENRES[item])
    assert TITLES[item] not in WRITER.item_text(item, hide_title=True)
    assert ", 0" not in text


def test_answers_are_single_tokens():
    for task in TASKS.values():
        ids = WRITER.answers[task.name]
        assert [TOKENIZER.decode([i]) for i in ids] == list(task.answers)
    assert WRITER.stop_ids == {END, *TOKENIZER("\n").input_ids}


def test_a_tokenizer_that_splits_an_answer_is_refused():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="!")
    said = "' Yes', an answer or a character of a code, into 4 tokens"
    with pytest.raises(UserError, match=said):
        PromptWriter(tokenizer, TITLES, YEARS, GENRES, PromptConfig())


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        (None, ""),
        ({}, ""),
        ({"age": 0, "gender": "", "occupation": None}, ""),
        ({"age": 24, "gender": "M", "occupation": "technician"}, "24, M, technician"),
        ({"occupation": "writer", "age": 30}, "30, writer"),
    ],
)
def test_a_profile_is_what_is_known(profile, text):
    assert profile_text(profile) == text


rated = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["War", "Crime", "Drama", "Comedy"]), unique=True, max_size=3),
        st.integers(1, 5),
    ),
    max_size=15,
)


@given(rated, st.integers(1, 4))
def test_a_taste_speaks_of_genres_that_are_there_and_not_disliked(history, size):
    taste = taste_from([g for g, _ in history], [r for _, r in history], size)
    if not taste:
        return
    named = taste.removeprefix("likes ").split(", ")
    assert len(named) == len(set(named)) <= size
    mean = sum(r for _, r in history) / len(history)
    for genre in named:
        own = [r for genres, r in history if genre in genres]
        assert len(own) >= 2
        assert sum(own) / len(own) > mean - 0.11


def test_a_taste_names_the_genres_that_stand_out():
    genres = [("War",), ("War",), ("Comedy",), ("Comedy",), ("Drama", "War")]
    assert taste_from(genres, [5, 5, 1, 2, 4]) == "likes War"
    assert taste_from([], []) == taste_from([("War",)], [5]) == ""
