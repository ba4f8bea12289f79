"""The checker of explanations reads free text and lets no planted falsehood pass."""

import random
from dataclasses import replace

import numpy as np
import pytest

from ckf_demo.collaborative.co_liked_items import CoLikedItems
from ckf_demo.lab.claim_reader import PLANTS, plant
from ckf_demo.tasks.explanations.claims import check
from ckf_demo.tasks.explanations.fact_claims import Known
from ckf_demo.tasks.explanations.facts import GENRES, Film
from ckf_demo.tasks.explanations.reasons import Cause, Composer, Situation, both, shared_by
from ckf_demo.tasks.explanations.wording import compose

HEAT = Film("9", "Heat", 1995, ("Action", "Crime", "Thriller"))
HISTORY = [
    (Film("1", "Toy Story", 1995, ("Animation", "Children's", "Comedy")), 4.0),
    (Film("2", "Fargo", 1996, ("Crime", "Drama", "Thriller")), 5.0),
    (Film("3", "Alien", 1979, ("Action", "Horror", "Sci-Fi", "Thriller")), 2.0),
    (Film("4", "Seven (Se7en)", 1995, ("Crime", "Thriller")), 5.0),
    (Film("5", "To Wong Foo, Thanks for Everything! Julie Newmar", 1995, ("Comedy",)), 1.0),
    (Film("6", "M", 1931, ("Crime", "Film-Noir", "Thriller")), 4.0),
]
TITLES = (
    *(film.title for film, _ in HISTORY), "Heat", "Alien 3", "In the Heat of the Night",
    "Star Wars", "Safe", "Batman", "Batman & Robin", "187", "It Takes Two",
)  # fmt: skip


def liked_together(a, b):
    return {a, b} in ({"2", "9"}, {"4", "9"})


def read(text, taste=None):
    return check(text, HISTORY, HEAT, 4.2, liked_together, TITLES, taste)


@pytest.mark.parametrize(
    "text",
    [
        "You gave Fargo a 5, and Heat is another Crime film, so it should be great.",
        'You rated "Fargo" 5 stars; both are Crime thrillers.',
        "You gave Alien 2 stars, and Heat is a Thriller too.",
        "Because you loved Seven, you should enjoy Heat: both are from the 1990s.",
        "Fans of Fargo also like Heat.",
        "You disliked Alien, which shares the Action of Heat.",
        "You rated M 4 out of 5. Like M, Heat is Crime.",
        "Heat has no genre in common with Toy Story, which you gave a 4.",
        "To Wong Foo, Thanks for Everything! Julie Newmar got only a 1 from you. "
        "It has different genres than Heat.",
        "Heat (1995) is a Crime film.",
        "Your 5 for Fargo speaks for Heat, a Crime Thriller.",
        "Heat is not a Comedy, unlike Toy Story.",
        "Fargo and Seven are Crime films that you gave a 5.",
        "Heat, a nineties crime film, suits you.",
        "You gave Fargo five stars and Heat has Crime too.",
    ],
)
def test_true_free_texts_pass(text):
    report = read(text)
    assert report.ok_films, report
    assert report.ok_ties, report.false_ties


@pytest.mark.parametrize(
    "text",
    [
        "You gave Fargo a 4, and Heat is another Crime film.",
        "You gave Fargo a 5, and Heat is another Drama film.",
        "You gave Fargo a 5, and Heat is another Horror film.",
        "Fans of Alien also like Heat.",
        "You loved Alien.",
        "You hated Fargo.",
        "Toy Story and Heat share a genre: Comedy.",
        "Heat has no genre in common with Fargo.",
        "Both are from the 1980s, Heat and Alien.",
        "Heat is from the 1980s.",
        "Like Fargo (1994), Heat is a Crime film.",
        "You gave Fargo a 5 and Seven a 4.",
        "You rated Fargo four stars.",
        "Heat comes from the same decade as Alien.",
        "You like Western films, so Heat should do.",
        "It is liked by the same people as Toy Story.",
        "You asked for Crime, and Heat has it.",
        "Alien is a Comedy, and you gave it a 2.",
        "You gave Fargo a 7.",
        "Heat is a 1972 film.",
        "Heat is a Crime film like Fargo, which you gave a 2.",
        "The same people like Heat and M.",
    ],
)
def test_false_claims_are_caught(text):
    assert read(text).false_ties


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("You gave The Silver Harbor a 5.", "The Silver Harbor"),
        ("Terminatrix got a 5 from you.", "Terminatrix"),
        ("You gave Toy Story 2 a 4.", "Toy Story 2"),
        ('You gave "fargo two" a 5.', "fargo two"),
        ("Heat is by Michael Mann, so you will enjoy it.", "Michael Mann"),
    ],
)
def test_names_that_are_no_known_film_are_unknown_films(text, name):
    report = read(text)
    assert report.unknown_films == [name]
    assert not report.ok_films


@pytest.mark.parametrize("title", ["Star Wars", "Alien 3", "Batman & Robin", "Safe"])
def test_films_from_outside_the_history_are_seen(title):
    report = read(f"{title} got a 5 from you.")
    assert report.outside == [title]
    assert not report.ok_films


def test_the_longest_title_is_meant_unless_a_rating_follows():
    assert read("In the Heat of the Night is good.").named == ["In the Heat of the Night"]
    assert read("You gave Alien 3 a 2.").outside == ["Alien 3"]
    report = read("You gave Alien 2 and this is another Action film.")
    assert report.named == ["Alien"] and report.ok_ties


def test_taste_claims_are_held_against_the_taste_line():
    assert read("You asked for Crime, and Heat has it.", "crime stories").ok_ties
    assert not read("You asked for Drama, and Heat has it.", "dramas").ok_ties
    assert read("You want to avoid Action, and Heat has it.", "no action").ok_ties
    # neither a decimal number nor a title's own question mark ends a sentence about a taste
    candidate = Film("10", "Shall We Dance?", None, ("Action",))
    text = (
        "Although Toy Story earned a 4.5 from you, you may regret picking Shall We Dance? You "
        "asked for Crime, and it lacks it."
    )
    history = [(HISTORY[0][0], 4.5)]
    titles = (*TITLES, candidate.title)
    report = check(text, history, candidate, 1.0, liked_together, titles, "I like crime.")
    assert {(claim.kind, claim.true) for claim in report.ties} >= {("no genre", True)}
    assert report.ok_ties, report.false_ties


def test_tone_ignores_the_words_of_titles():
    assert read("Safe and Die Hard could go either way.").polarity == "mixed"
    assert read("Heat will probably disappoint you.").polarity == "negative"


@pytest.fixture(scope="module")
def world():
    """A catalogue with titles of many shapes, and people with histories."""
    rng = random.Random(5)
    nouns = (
        "River Garden Engine Letter Moon Tiger Window Bridge Summer Doctor Island Mirror".split()
    )
    shapes = ("{}", "The {}", "{} {}", "The {} of {}", "{} 2", "{}: Part {}", "My {}!", "{} & {}")
    titles = dict.fromkeys(rng.choice(shapes).format(*rng.sample(nouns, 2)) for _ in range(400))

    def film(place: int, title: str) -> Film:
        year = rng.randrange(1930, 1999)
        return Film(str(place), title, year, tuple(rng.sample(GENRES, rng.randint(1, 3))))

    catalogue = [film(place, title) for place, title in enumerate(titles)]

    def together(a, b):
        return (int(a) * int(b)) % 3 == 0

    return catalogue, together


def test_planted_falsehoods_are_caught_and_true_texts_pass(world):
    catalogue, together = world
    rng = random.Random(11)
    titles = tuple(film.title for film in catalogue)
    passed, caught, planted = 0, dict.fromkeys(PLANTS, 0), dict.fromkeys(PLANTS, 0)
    n = 500
    for _ in range(n):
        candidate, *films = rng.sample(catalogue, rng.randint(2, 8))
        history = [(film, float(rng.randint(1, 5))) for film in films]
        rating = rng.uniform(1, 5)
        made = compose(history, candidate, rating, together, rng)
        report = check(made.text, history, candidate, rating, together, titles)
        passed += report.ok_films and report.ok_ties
        for kind in PLANTS:
            text = plant(made, kind, history, candidate, together, catalogue, rng)
            if text is None:
                continue
            assert text != made.text
            report = check(text, history, candidate, rating, together, titles)
            planted[kind] += 1
            caught[kind] += not (report.ok_films and report.ok_ties)
    assert passed >= 0.99 * n
    for kind in PLANTS:
        assert planted[kind] >= 20, (kind, planted)
        assert caught[kind] >= 0.95 * planted[kind], kind


def likes(*fans_of_items):
    """Interactions in which each tuple holds one item's fans."""
    user = np.concatenate([np.asarray(fans) for fans in fans_of_items])
    item = np.repeat(np.arange(len(fans_of_items)), [len(fans) for fans in fans_of_items])
    return user, item, np.full(len(user), 4.0)


def test_items_with_the_same_fans_are_liked_together():
    user, item, rating = likes(range(20), range(5, 25), range(60, 80), range(100))
    pairs = CoLikedItems.fit(user, item, rating, n_items=5)
    assert pairs(0, 1) and pairs(1, 0)
    assert not pairs(0, 2), "no common fans"
    assert not pairs(0, 3), "what everybody likes has fans in common with everything"
    assert not pairs(0, 0) and not pairs(0, 4)
    # low ratings and few common fans do not count
    user, item, rating = likes(range(9), range(9), range(50, 90))
    assert not CoLikedItems.fit(user, item, rating, n_items=3)(0, 1)
    user, item, _ = likes(range(20), range(20), range(50, 90))
    low = np.where(item == 0, 3.0, 5.0)
    assert not CoLikedItems.fit(user, item, low, n_items=3)(0, 1)
    # the strongest are kept
    user, item, rating = likes(range(20), range(20), range(3, 23), range(50, 90))
    pairs = CoLikedItems.fit(user, item, rating, n_items=4)
    assert [pairs(0, b) for b in range(4)] == [False, True, True, False]
    strongest = CoLikedItems.fit(user, item, rating, n_items=4, top=1)
    assert strongest(0, 1) and not strongest(0, 3)


# Causes and facts

LONE = Film(
    *("20", "Lone Star", 1996, ("Mystery", "Drama"), ("John Sayles",), ("Kris Kristofferson",)),
    tags=("small town", "police", "secret"),
    countries=("United States",),
    description="A Texas sheriff digs up his father's past.",
)
ROAN = Film(
    *("21", "Roan Inish", 1994, ("Drama",), ("John Sayles",), ("Jeni Courtney",)),
    tags=("small town", "gentle"),
    countries=("Ireland",),
    description="A girl believes that seals are raising her brother.",
)
SPEED = Film("22", "Speed", 1994, ("Action",), ("Jan de Bont",), ("Keanu Reeves",))
RATED = [(ROAN, 5.0), (SPEED, 1.0)]
SITUATION = Situation(
    LONE,
    4.1,
    (
        Cause("rating", 0.28, ROAN, 5.0),
        Cause("rating", -0.06, SPEED, 1.0),
        Cause("history", 0.41),
        Cause("level", 0.31),
    ),
    known=2,
    average=(3.9, 120),
    better=(Film("23", "Matewan", 1987, ("Drama",)), 4.6),
)
KNOWN = Known.of([LONE, ROAN, SPEED])


def no_fans(a, b):
    return False


def said(text):
    titles = ("Lone Star", "Roan Inish", "Speed", "Matewan")
    return check(text, RATED, LONE, 4.1, no_fans, titles, known=KNOWN, situation=SITUATION)


@pytest.mark.parametrize(
    "text",
    [
        "Lone Star should suit you, mostly because you gave Roan Inish a 5 (+0.28 stars).",
        "Your 5 for Roan Inish adds 0.28 more. Your 1 for Speed takes off 0.06 more.",
        "Both Lone Star and Roan Inish are by John Sayles.",
        "You gave Roan Inish a 5. Both are set in a small town and are by John Sayles.",
        "John Sayles directed Lone Star, a mystery drama with Kris Kristofferson.",
        "Lone Star deals with the police and a secret.",
        "A Texas sheriff digs up his father's past. Kris Kristofferson is in Lone Star.",
        "Others think well of it: 3.9 of 5 on average from 120 ratings.",
        "People in general think well of it (+0.31 stars above the average film).",
        "Together, your 2 ratings are worth +0.41 stars.",
        "Another drama, Matewan, should suit you better (predicted 4.6 of 5).",
        "Roan Inish is gentle and was made in Ireland.",
    ],
)
def test_true_causes_and_facts_pass(text):
    report = said(text)
    assert report.ok_films and report.ok_ties, (report.unknown_films, report.false_ties)
    assert report.ties


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "Lone Star should suit you, mostly because you gave Roan Inish a 5 (+0.35 stars).",
            "effect",
        ),
        ("You gave Roan Inish a 5 (−0.28 stars).", "effect"),
        ("Your 5 for Roan Inish takes off 0.28 more.", "effect"),
        ("Your 1 for Speed adds 0.28 more.", "effect"),
        ("Both Lone Star and Speed are by John Sayles.", "director"),
        ("Lone Star is directed by Kris Kristofferson.", "director"),
        ("Jan de Bont directed Lone Star, a drama.", "director"),
        ("Lone Star is a drama with Keanu Reeves.", "actor"),
        ("You gave Roan Inish a 5. Both are set in Paris.", "theme"),
        ("Lone Star deals with insects.", "theme"),
        ("Lone Star deals with spoons.", "theme"),
        ("Lone Star is gentle.", "theme"),
        ("A girl believes that seals are raising her brother.", "story"),
        ("A Texas sheriff digs up his brother's past.", "story"),
        ("Others think well of it: 4.4 of 5 on average from 120 ratings.", "average"),
        ("Others think well of it: 3.9 of 5 on average from 12 ratings.", "average"),
        ("People in general think well of it (+0.51 stars above the average film).", "effect"),
        ("Together, your 2 ratings are worth +0.11 stars.", "effect"),
        ("Together, your 9 ratings are worth +0.41 stars.", "history"),
        ("Another drama, Matewan, should suit you better (predicted 3.9 of 5).", "prediction"),
        ("Lone Star was made in Ireland.", "country"),
        ("Lone Star is a romantic drama.", "genre"),
    ],
)
def test_false_causes_and_facts_are_caught(text, kind):
    assert kind in {claim.kind for claim in said(text).false_ties}


def test_a_lesser_cause_is_not_the_main_one():
    effects = (Cause("rating", 0.3, SPEED, 1.0), Cause("rating", 0.1, ROAN, 5.0))
    situation = replace(SITUATION, causes=effects)
    text = "Lone Star should suit you, mostly because you gave Roan Inish a 5 (+0.10 stars)."
    titles = ("Lone Star", "Roan Inish", "Speed")
    report = check(text, RATED, LONE, 4.1, no_fans, titles, situation=situation)
    assert [claim.kind for claim in report.false_ties] == ["greatest"]


@pytest.mark.parametrize("rating", [1.9, 2.9, 3.5, 4.4])
@pytest.mark.parametrize("again", range(4))
def test_composed_texts_about_causes_pass(rating, again):
    signs = (1, -1) if rating >= 3.25 else (-1, 1)
    effects = [
        Cause("rating", signs[0] * 0.2, ROAN, 5.0 if signs[0] > 0 else 1.0),
        Cause("rating", signs[1] * 0.15, SPEED, 1.0),
        Cause("level", signs[0] * 0.4),
    ]
    history = [(cause.film, cause.rating) for cause in effects if cause.film]
    for causes in (tuple(effects), tuple(effects[2:]), ()):
        situation = replace(SITUATION, rating=rating, causes=causes, better=None)
        composer = Composer(situation, again)
        text = " ".join([*composer.lead(), *composer.rest()])
        titles = ("Lone Star", "Roan Inish", "Speed")
        report = check(
            text, history, LONE, rating, no_fans, titles, known=KNOWN, situation=situation
        )
        assert report.ok_films and report.ok_ties, (text, report)
        assert composer.lead() and "{" not in text and ".." not in text


def test_the_greatest_causes_in_the_direction_of_the_verdict_are_cited():
    cited = SITUATION.cited
    assert cited.main.film == ROAN and cited.second is None and cited.opposite is None
    low = replace(SITUATION, rating=3.0)
    assert low.cited.main.film == SPEED and low.cited.opposite.film == ROAN
    alone = replace(SITUATION, causes=(Cause("history", 0.1), Cause("level", 0.3)))
    assert alone.cited.main.kind == "level" and not alone.cited.ratings
    assert replace(SITUATION, causes=(Cause("rating", 0.01, ROAN, 5.0),)).cited.main is None
    words = (*SITUATION.causes, Cause("words", 0.5))
    assert replace(SITUATION, causes=words).cited.main.kind == "words"


def test_particular_ties_come_before_genre():
    shared = shared_by(LONE, ROAN, lambda a, b: True, {"small town": 3})
    assert [one.kind for one in shared] == ["director", "setting", "fans"]
    assert both(shared) == (
        "Both are directed by John Sayles, and people who like one tend to like the other."
    )
