"""A taste sentence becomes what the catalogue can answer, and says what it cannot."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.retrieval.reading import Reader, Reading
from ckf_demo.retrieval.terms import Lexicon, key_of, words_of
from support.films import films

# Words that stand for the encoder's vocabulary.
VOCABULARY = frozenset("lighthouse keeper slow burn woman strong violent new films".split())


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(Lexicon(films()), VOCABULARY)


def wanted(reading: Reading) -> list[list[str]]:
    return [[wish.name for wish in group] for group in reading.groups]


def unwanted(reading: Reading) -> list[str]:
    return [wish.name for wish in reading.unwanted]


@pytest.mark.parametrize(
    ("sentence", "groups", "against"),
    [
        ("westerns", [["Western"]], []),
        ("a romantic comedy", [["Romance"], ["Comedy"]], []),
        ("comedies or westerns", [["Comedy", "Western"]], []),
        ("French cinema", [["France"]], []),
        ("French and Italian films", [["France", "Italy"]], []),
        ("films in French", [["in French"]], []),
        ("foreign language films", [["not in English"]], []),
        ("films by Alfred Hitchcock", [["Alfred Hitchcock"]], []),
        ("Hitchcock thrillers", [["Alfred Hitchcock"], ["Thriller"]], []),
        ("a Hichcock film", [["Alfred Hitchcock"]], []),
        ("Steven Speilberg", [["Steven Spielberg"]], []),
        ("with Grace Kelly or Cary Grant", [["Grace Kelly", "Cary Grant"]], []),
        ("before 1970", [["before 1970"]], []),
        ("from the fifties", [["from 1950 to 1959"]], []),
        ("late 50s", [["from 1955 to 1959"]], []),
        ("between 1940 and 1950", [["from 1940 to 1950"]], []),
        ("since 1990", [["from 1990 on"]], []),
        ("old westerns", [["old"], ["Western"]], []),
        ("sharks at the seaside", [["sharks"], ["beach"]], []),
        ("set in New York", [["new york"]], []),
        ("westens", [["Western"]], []),
        ("no romance", [], ["Romance"]),
        ("I hate westerns", [], ["Western"]),
        ("comedies without sharks", [["Comedy"]], ["sharks"]),
        ("anything but westerns", [], ["Western"]),
        ("nothing but westerns", [["Western"]], []),
        ("not only westerns", [["Western"]], []),
        ("I don't like westerns; I love comedies", [["Comedy"]], ["Western"]),
        ("no westerns, romance or sharks", [], ["Western", "Romance", "sharks"]),
        ("no romance, comedies please", [["Comedy"]], ["Romance"]),
        ("I am tired of westerns, give me a comedy", [["Comedy"]], ["Western"]),
        ("with Cary Grant, without Grace Kelly", [["Cary Grant"]], ["Grace Kelly"]),
        ("not before 1970", [], ["before 1970"]),
        ("kein Western, lieber Komödien", [["Comedy"]], ["Western"]),
        ("une comédie sans amour", [["Comedy"]], ["Romance"]),
        ("películas del oeste", [["Western"]], []),
    ],
)
def test_a_sentence_is_read_as_terms(reader, sentence, groups, against):
    reading = reader.read(sentence)
    assert (wanted(reading), unwanted(reading)) == (groups, against)
    assert (reading.absent, reading.not_understood) == ((), ())


@pytest.mark.parametrize(
    ("sentence", "title", "groups"),
    [
        ("like Rear Window", "Rear Window", []),
        ("something like Jaws but funny", "Jaws", [["Comedy"]]),
        ("I loved Rear Window", "Rear Window", []),
        ("in the style of Raer Window", "Rear Window", []),
        ("rear windw", "Rear Window", []),
        ("jaws", "Jaws", []),
    ],
)
def test_a_title_stands_for_what_is_like_it(reader, sentence, title, groups):
    reading = reader.read(sentence)
    (wish,) = reading.like
    assert [reader.lexicon.prepared.titles[item] for item in wish.like] == [title]
    assert wanted(reading) == groups


def test_names_that_nobody_has_are_reported(reader):
    reading = reader.read("westerns by Tarkovsky before 1960")
    assert reading.absent == ("Tarkovsky",)
    assert wanted(reading) == [["Western"], ["before 1960"]]


@pytest.mark.parametrize("sentence", ["", "asdf qwerty", "hello how are you", "фильм", "???", "12"])
def test_nonsense_asks_for_nothing(reader, sentence):
    assert reader.read(sentence).empty


def test_the_remainder_keeps_its_side(reader):
    reading = reader.read("a lighthouse keeper, nothing strong or xyzzy")
    assert reading.remainder == "lighthouse keeper"
    assert (reading.unwanted_remainder, reading.not_understood) == ("strong", ("xyzzy",))


@given(st.text(max_size=120))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read(text):
    reading = Reader(LEXICON, VOCABULARY).read(text)
    for wish in reading.wishes:
        assert wish.like or wish.fit.shape == (LEXICON.size,)
        assert wish.like or np.isfinite(wish.fit).all()


LEXICON = Lexicon(films())


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_names_are_compared_without_case_and_accents(text):
    assert key_of(text) == key_of(" ".join(words_of(text)))
