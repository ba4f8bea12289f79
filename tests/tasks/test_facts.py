"""What explanations may say: the choice of facts, their line, and their wordings."""

import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.runtime.assets import asset
from ckf_demo.tasks.explanations.claims import check
from ckf_demo.tasks.explanations.facts import Film, gather, polarity_for, taste_genres
from ckf_demo.tasks.explanations.sentiment import polarity as tone
from ckf_demo.tasks.explanations.wording import compose, word

TITLES = (
    "Toy Story", "Fargo", "Heat", "M", "Alien", "Alien 3", "Seven (Se7en)", "Die Hard", "Misery",
    "Shall We Dance?", "Escape from L.A.", "Good Will Hunting", "When Harry Met Sally...", "Jaws 2",
    "To Wong Foo, Thanks for Everything! Julie Newmar", "Batman & Robin", "Batman", "Jack", "8 1/2",
    "Love! Valour! Compassion!", "The Good, The Bad and The Ugly", "20,000 Leagues Under the Sea",
    "Star Trek: First Contact", "Bad Girls", "L'Enfer", "2001: A Space Odyssey", "Mars Attacks!",
)  # fmt: skip
LABELS = ("Action", "Children's", "Comedy", "Crime", "Drama", "Film-Noir", "Horror", "Sci-Fi")


@st.composite
def situations(draw):
    """A history, a candidate, a rating, and who is liked together."""
    titles = draw(st.lists(st.sampled_from(TITLES), min_size=1, max_size=8, unique=True))
    films = [
        Film(
            item=str(place),
            title=title,
            year=draw(st.sampled_from((None, 1939, 1968, 1994, 1995, 1997))),
            genres=tuple(draw(st.lists(st.sampled_from(LABELS), max_size=3, unique=True))),
        )
        for place, title in enumerate(titles)
    ]
    ratings = [draw(st.sampled_from((1.0, 2.0, 2.5, 3.0, 4.0, 4.5, 5.0))) for _ in films[1:]]
    together = {film.item for film in films if draw(st.booleans())}
    rating = draw(st.floats(1, 5))
    taste = draw(st.sampled_from((None, "I like crime and sci-fi, but no horror.", "comedies")))
    return list(zip(films[1:], ratings, strict=True)), films[0], rating, together, taste


def liked(together):
    return lambda a, b: a in together and b in together


@settings(max_examples=400)
@given(situations(), st.integers(0, 10**6))
def test_composed_texts_hold_by_the_checker_and_in_the_tone_of_the_rating(situation, seed):
    history, candidate, rating, together, taste = situation
    made = compose(history, candidate, rating, liked(together), random.Random(seed), taste)
    shown = [film for film, _ in history]
    assert all(film in shown for film in made.evidence)
    report = check(made.text, history, candidate, rating, liked(together), TITLES, taste)
    assert report.ok_films, (made.text, report)
    assert report.ok_ties, (made.text, report.false_ties)
    assert set(report.evidence) == {film.title for film in made.evidence}
    assert bool(report.evidence) == bool(history)
    assert made.polarity == polarity_for(rating)
    named = [candidate.title, *(film.title for film in made.evidence)]
    assert tone(made.text, named) == made.polarity, made.text


@pytest.mark.parametrize(
    ("kind", "polarity"), [("wanted", "positive"), ("avoided", "negative"), ("missing", "negative")]
)
def test_every_wording_about_the_taste_line_keeps_the_verdicts_tone(kind, polarity):
    film = Film("0", "Toy Story", None, ("Action",))
    wordings = asset("wordings.toml")
    for wish, frame, verdict in product(
        wordings["wish"][kind], wordings["wish_frames"], wordings["verdict"][polarity]
    ):
        text = frame.replace("{wish}", wish).replace("{verdict}", verdict)
        text = (
            text.replace("{at}", "a crime film").replace("{t}", "crime").replace("{c}", film.title)
        )
        assert tone(text, [film.title]) == polarity, text


@settings(max_examples=200)
@given(situations(), st.integers(0, 10**6))
def test_the_wording_never_changes_the_facts(situation, seed):
    history, candidate, rating, together, taste = situation
    arguments = (history, candidate, rating, liked(together), taste)
    facts = gather(*arguments)
    assert facts == gather(*arguments)
    made = word(facts, random.Random(seed))
    films = facts.evidence
    assert made.evidence == films and len(films) <= 2
    assert all(film.title in facts.line and film.title in made.text for film in films)
    assert len(made.text.split()) <= 50


@pytest.mark.parametrize(
    ("rating", "polarity"),
    [(5, "positive"), (3.75, "positive"), (3.74, "mixed"), (2.75, "mixed"), (2.74, "negative")],
)
def test_thresholds_of_polarity(rating, polarity):
    assert polarity_for(rating) == polarity


FARGO = Film("1", "Fargo", 1996, ("Crime", "Drama"))
TOY_STORY = Film("2", "Toy Story", 1995, ("Animation", "Comedy"))
HEAT = Film("3", "Heat", 1995, ("Action", "Crime"))


def never(a, b):
    return False


def test_fact_line_states_rating_genre_fans_and_verdict():
    facts = gather([(TOY_STORY, 4.0), (FARGO, 5.0)], HEAT, 4.6, lambda a, b: a == "1")
    assert facts.line == "Ties: Fargo (you 5; Crime; same fans). Verdict: good."
    assert facts.evidence == [FARGO]


def test_a_negative_text_leans_on_a_low_rating_of_the_same_genre():
    facts = gather([(TOY_STORY, 5.0), (FARGO, 1.0)], HEAT, 2.0, never)
    assert [(tie.film, tie.genres) for tie in facts.ties] == [(FARGO, ("Crime",))]
    # without one it falls back on missing common genres
    facts = gather([(TOY_STORY, 5.0)], HEAT, 2.0, never)
    assert not facts.ties[0].different, "both are from the nineties, which is not different enough"
    facts = gather([(TOY_STORY, 5.0), (FARGO, 4.0)], Film("4", "M", 1931, ("Horror",)), 2.0, never)
    assert facts.ties[0].different


def test_a_mixed_text_weighs_one_film_against_another():
    history = [(FARGO, 5.0), (Film("5", "Speed", 1994, ("Action",)), 1.0)]
    facts = gather(history, HEAT, 3.2, never)
    assert [tie.rating for tie in facts.ties] == [5.0, 1.0]


def test_an_empty_history_leaves_the_candidate_and_the_taste_line():
    facts = gather([], HEAT, 4.5, never, "I love crime stories")
    assert facts.line == "Ties: none | asked for Crime. Verdict: good." and not facts.evidence
    for seed in range(50):
        text = compose([], HEAT, 4.5, never, random.Random(seed), "I love crime stories").text
        assert "crime" in text


def test_wordings_are_many():
    facts = gather([(FARGO, 5.0)], HEAT, 4.6, never)
    assert len({word(facts, random.Random(seed)).text for seed in range(300)}) > 200


@pytest.mark.parametrize(
    ("taste", "wanted", "avoided"),
    [
        ("I like romantic comedies but hate horror", ("Comedy", "Romance"), ("Horror",)),
        ("science fiction; no musicals, please", ("Sci-Fi",), ("Musical",)),
        ("Not westerns. Westerns are great", (), ()),
        ("something warm", (), ()),
        (None, (), ()),
    ],
)
def test_taste_lines_are_read_with_their_negations(taste, wanted, avoided):
    assert taste_genres(taste) == (wanted, avoided)
