"""The reader of texts: what it passes, what it catches, and that it forgets no word."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_demo.tasks.explanations.evidence import Chosen, Evidence, Said
from ckf_demo.tasks.explanations.grounding import Reader, stem, tokens

EVIDENCE = Evidence(
    of_item=(Said(3, 11, "The user would enjoy it for its fresh oysters and friendly staff."),),
    of_person=(Said(5, 12, "The user likes live music, but not loud crowds."),),
    together=(Chosen(7, "Fish, Bones and All", 12),),
)


def read(text: str, title: str = "Harbor House", evidence: Evidence = EVIDENCE):
    return Reader(title, evidence, {"Fish, Bones and All": 12}.get).read(text)


@pytest.mark.parametrize(
    "text",
    [
        "The user would enjoy Harbor House for its fresh oysters.",
        "You would like Harbor House because of the friendly staff and live music.",
        "It offers oysters, fresh.",
        "12 people who chose Fish, Bones and All chose Harbor House too.",
        "Harbor House is not for loud crowds.",
        "The user would enjoy this place.",
    ],
)
def test_what_the_texts_say_is_borne_out(text):
    assert all(sentence.supported for sentence in read(text))


@pytest.mark.parametrize(
    "text",
    [
        "The user would enjoy Harbor House for its fresh lobster.",
        "The user would enjoy Blue Whale for its fresh oysters.",
        "The user would enjoy Harbor House for its 40 oysters.",
        "The staff is not friendly.",
        "It offers loud crowds.",
        "The user would enjoy oysters with a full bill.",
        "The user would enjoy the five oysters.",
        "I like the oysters.",
        "Somebody who gave it 4 of 5 wrote: “The fresh oysters.”",
        "13 people who chose Fish, Bones and All chose Harbor House too.",
        "12 people who chose Harbor House chose Fish, Bones and All too.",
        "12 people who chose Mill Street chose Harbor House too.",
    ],
)
def test_what_they_do_not_say_is_not(text):
    assert not all(sentence.supported for sentence in read(text))


def test_statements_say_what_they_rest_on():
    (sentence,) = read("You would like it for oysters, and for live music.")
    assert [own.rows for own in sentence.statements] == [(11,), (12,)]
    (counted,) = read("12 people who chose Fish, Bones and All chose Harbor House too.")
    assert counted.statements[0].items == (7,)
    # without any text words rest on the name alone
    assert read("You would enjoy the house.", evidence=Evidence())[0].supported
    assert not read("You would enjoy the garden.", evidence=Evidence())[0].supported


def test_endings_meet():
    assert len({stem(w) for w in ("flavor", "flavors", "flavored")}) == 1
    assert stem("the") != stem("then")


WORDS = st.text(st.characters(categories=("Ll",), max_codepoint=0x17F), min_size=3, max_size=9)


@given(WORDS, st.integers(0, 10))
def test_a_word_that_nobody_wrote_is_always_found(word, place):
    known = {w for w, _ in tokens(" ".join(EVIDENCE.texts))} | {stem("harbor"), stem("house")}
    known |= {stem(w) for w in ("fish", "bones", "and", "all")}
    own = "The user would enjoy it for its fresh oysters".split()
    own.insert(place % len(own), f"{word}xq")
    assert stem(f"{word}xq") not in known
    assert not all(sentence.supported for sentence in read(" ".join(own)))


@given(st.text(max_size=60))
def test_any_text_is_read(text):
    found = read(text)
    for sentence in found:
        assert sentence.text in text
        assert all(isinstance(row, int | np.integer) for s in sentence.statements for row in s.rows)


RATED = Evidence(
    of_item=(
        Said(3, 11, "Holds well. Works “just” fine.", 4.0),
        Said(3, 12, "My capo broke.", 1.0),
    ),
    together=(Chosen(7, "Pick", 9),),
)


def test_somebodys_words_are_compared_with_what_they_wrote():
    closing = RATED.closing("Capo")
    words = 'Holds well. Works "just" fine.'
    assert closing == f"Somebody who gave it 4 of 5 wrote: “{words}”"
    first, second = read(f"The capo holds well. {closing}", "Capo", RATED)
    assert first.supported and second.supported and second.text == closing
    assert second.statements[0].rows == (11,)
    for false in (closing.replace("4", "5"), closing.replace("fine", "badly")):
        assert not read(false, "Capo", RATED)[0].supported
    assert read("Somebody who gave it 1 of 5 wrote: “My capo broke.”", "Capo", RATED)[0].supported
    # nobody is quoted where nobody rates
    assert EVIDENCE.closing("Harbor House").startswith("12 people who chose")
    assert Evidence().closing("Harbor House") == ""
