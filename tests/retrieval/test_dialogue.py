"""Taste sentences as people say them in a chat are read as what they ask for."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_demo.retrieval.reading import Reader, Reading
from ckf_demo.retrieval.spoken import Sentence
from ckf_demo.retrieval.terms import Lexicon
from support.films import films

US, JP = "United States", "Japan"
MORE = (
    ("Scream", 1996, "Horror", "Wes Craven", "Neve Campbell|Drew Barrymore",
     "serial killer|frightening|high school", US, "English", "A masked killer makes calls."),
    ("Halloween: The Curse of Michael Myers", 1995, "Horror", "Joe Chappelle",
     "Donald Pleasence|Paul Rudd", "serial killer|halloween|gory", US, "English", "He is back."),
    ("Rudy", 1993, "Drama", "David Anspaugh", "Sean Astin|Jon Favreau",
     "football|sports|inspiring", US, "English", "A small player wants to play."),
    ("Ladybird Ladybird", 1994, "Drama", "Ken Loach", "Crissy Rock|Ray Winstone",
     "mother and child", "United Kingdom", "English", "A mother fights for her children."),
    ("Cohen and Tate", 1988, "Thriller", "Eric Red", "Adam Baldwin|Roy Scheider",
     "kidnapping", US, "English", "Two killers take a boy."),
    ("Star Trek: Generations", 1994, "Action Sci-Fi", "David Carson", "Patrick Stewart",
     "space travel", US, "English", "Two captains meet."),
    ("Star Trek: First Contact", 1996, "Action Sci-Fi", "Jonathan Frakes", "Patrick Stewart",
     "space travel|cyborg", US, "English", "The crew follows an enemy."),
    ("Ace Ventura: Pet Detective", 1994, "Comedy", "Tom Shadyac", "Jim Carrey",
     "detective|animals|funny", US, "English", "A dolphin is missing."),
    ("Ace Ventura: When Nature Calls", 1995, "Comedy", "Steve Oedekerk", "Jim Carrey",
     "detective|africa|funny", US, "English", "A bat is missing."),
    ("The Terminator", 1984, "Action Sci-Fi", "James Cameron", "Arnold Schwarzenegger",
     "cyborg|future", US, "English", "A machine comes from the future."),
    ("Terminator 2: Judgment Day", 1991, "Action Sci-Fi", "James Cameron",
     "Arnold Schwarzenegger", "cyborg|future|superhero", US, "English", "Another comes."),
    ("Die Hard", 1988, "Action", "John McTiernan", "Bruce Willis", "hostages|exciting", US,
     "English", "A policeman in a tower."),
    ("Die Hard 2", 1990, "Action", "Renny Harlin", "Bruce Willis", "terrorism|exciting", US,
     "English", "A policeman in an airport."),
    ("Die Hard: With a Vengeance", 1995, "Action", "John McTiernan", "Bruce Willis",
     "terrorism|exciting", US, "English", "A policeman in a city."),
    ("Taxi Driver", 1976, "Drama Thriller", "Martin Scorsese", "Robert De Niro|Jodie Foster",
     "big city|loneliness|bleak|disturbing", US, "English", "A driver looks at the city."),
    ("Fargo", 1996, "Crime Drama", "Joel Coen|Ethan Coen", "Frances McDormand",
     "kidnapping|dark comedy", US, "English", "A kidnapping fails."),
    ("Heat", 1995, "Action Crime", "Michael Mann", "Al Pacino|Robert De Niro|Samuel L. Jackson",
     "heist|police", US, "English", "A thief and a policeman."),
    ("E.T. the Extra-Terrestrial", 1982, "Children's Sci-Fi", "Steven Spielberg",
     "Henry Thomas|Drew Barrymore", "aliens|heartwarming|family friendly", US, "English",
     "A boy hides a guest."),
    ("Aladdin", 1992, "Animation Children's Musical", "Ron Clements", "Robin Williams",
     "magic|family friendly", US, "English", "A thief finds a lamp."),
    ("The Game", 1997, "Mystery Thriller", "David Fincher", "Michael Douglas",
     "mind-bending|suspenseful", US, "English", "A banker plays."),
    ("Schindler's List", 1993, "Drama War", "Steven Spielberg", "Liam Neeson",
     "genocide|world war ii|true story|based on a novel|sad", US, "English", "A list saves."),
    ("Hoop Dreams", 1994, "Documentary", "Steve James", "", "basketball|sports", US, "English",
     "Two boys play."),
    ("Norma Rae", 1979, "Drama", "Martin Ritt", "Sally Field", "feminism|labor struggle", US,
     "English", "She starts a union."),
    ("Hairspray", 1988, "Comedy", "John Waters", "Ricki Lake", "dance|campy|charming", US,
     "English", "They dance."),
)  # fmt: skip

# Words that stand for the encoder's vocabulary; "rocky" and "matrix" are not misspelt names.
VOCABULARY = frozenset("rocky stupid short smart scream heat game ace ventura thin red".split())
LEXICON = Lexicon(films(MORE))
READER = Reader(LEXICON, VOCABULARY)


def said(reading: Reading) -> tuple[list[str], list[str]]:
    """What is wanted and what is not: terms by name, items by title."""
    titles = LEXICON.prepared.titles
    wanted: list[str] = []
    unwanted: list[str] = []
    for wish in reading.wishes:
        names = [wish.name] if wish.terms else [titles[item] for item in wish.like]
        (wanted if wish.wanted else unwanted).extend(names)
    return sorted(wanted), sorted(unwanted)


TREK = ["Star Trek: First Contact", "Star Trek: Generations"]
VENTURA = ["Ace Ventura: Pet Detective", "Ace Ventura: When Nature Calls"]
MYERS = "Halloween: The Curse of Michael Myers"
DISNEY = ["Animation", "Children's"]


@pytest.mark.parametrize(
    ("sentence", "wanted", "unwanted"),
    [
        # titles in lists and behind what people say of them
        ("I love scary movies, especially Scream and Halloween", ["Horror", "Scream", MYERS], []),
        ("My favorite movies are Fargo, Heat and Rudy", ["Fargo", "Heat", "Rudy"], []),
        ("Give me a sports movie, like Rocky or Rudy", ["Rudy", "sports"], []),
        ("dark comedies, e.g. Fargo", ["Fargo", "dark comedy"], []),
        ("Heat, Scream and Rudy please", ["Heat", "Rudy", "Scream"], []),
        ("Films like “Heat” please", ["Heat"], []),
        ("I liked Heat (1995) and Rudy", ["Heat", "Rudy"], []),
        ("Fargo was great", ["Fargo"], []),
        ("I like westerns, a scream of a comedy", ["Comedy", "Western"], []),
        # series
        ("I like Star Trek and stuff like that", TREK, []),
        ("something funny, I have seen Ace Ventura already", ["Comedy", *VENTURA], []),
        ("i liked die hard 3", ["Die Hard: With a Vengeance"], []),
        ("I loved Terminator 2", ["Terminator 2: Judgment Day"], []),
        ("anything like E.T.", ["E.T. the Extra-Terrestrial"], []),
        # people
        ("older movies with Jimmy Stewart", ["James Stewart", "older"], []),
        ("with Bob De Niro and Al Pacino", ["Al Pacino", "Robert De Niro"], []),
        ("jim carey movies", ["Jim Carrey"], []),
        ("films with Samuel L. Jackson", ["Samuel L. Jackson"], []),
        ("a Hichcock film", ["Alfred Hitchcock"], []),
        ("the Coen Brothers are great", ["Joel Coen or Ethan Coen"], []),
        ("anything with Arnold", ["Arnold Schwarzenegger"], []),
        # idioms of asking, company and ages
        ("I'm in the mood for a romantic comedy", ["Comedy", "Romance"], []),
        ("what about a musical, do you know any good ones?", ["Musical"], []),
        ("My girlfriend and my parents want a comedy for date night", ["Comedy"], []),
        ("recommend us a comedy", ["Comedy"], []),
        ("I WANT A GOOD HORROR MOVIE", ["Horror"], []),
        ("something for my 8 year old daughter", ["Children's"], []),
        ("a comedy for my 30 year old sister", ["Comedy"], []),
        # what rules out and what does not
        ("no more superhero movies, I want a true story", ["true story"], ["superhero"]),
        ("I don't want any more westerns", [], ["Western"]),
        ("enough of war films", [], ["War"]),
        ("I'd rather not see anything gory", [], ["gory"]),
        ("Nothing too gory please", [], ["gory"]),
        ("not really into sci-fi but I liked Rudy", ["Rudy"], ["Sci-Fi"]),
        ("I can't stand horror, war and westerns", [], ["Horror", "War", "Western"]),
        ("I do not want to watch something sad", [], ["sad"]),
        ("I don't think I'd like a war movie", [], ["War"]),
        ("Horror isn't my thing", [], ["Horror"]),
        ("Westerns bore me", [], ["Western"]),
        ("I liked Fargo but The Game was boring", ["Fargo"], ["The Game"]),
        ("Comedy, yes. Horror, no.", ["Comedy"], ["Horror"]),
        ("I watched Scream and hated it", [], ["Scream"]),
        ("I hate horror but my boyfriend loves it", ["Horror"], []),
        ("I hate romantic comedies but my girlfriend wants one", ["Comedy", "Romance"], []),
        ("not only westerns", ["Western"], []),
        ("no matter what, I enjoy westerns", ["Western"], []),
        ("why not a comedy", ["Comedy"], []),
        ("I can't get enough of westerns", ["Western"], []),
        ("I don't know any good documentaries", ["Documentary"], []),
        ("scary, but not too scary", ["Horror"], []),
        ("a comedy, I don't mind westerns", ["Comedy"], []),
        ("not too gory thrillers", ["Thriller"], ["gory"]),
        ("not too sad or gory thrillers", ["Thriller"], ["gory", "sad"]),
        ("animated films for my kids", ["Animation", "Children's"], []),
        # tones in everyday words
        ("something dark", ["bleak"], []),
        ("a movie that will make me cry", ["sad"], []),
        ("gripping, with a twist ending", ["mind-bending", "suspenseful"], []),
        ("a cheesy, feel-good film", ["campy", "heartwarming"], []),
        ("a strong female lead", ["feminism"], []),
        ("based on a book", ["based on a novel"], []),
        ("a lot of Disney lately", DISNEY, []),
        # other languages
        ("Ich mag Western, aber keine Komödien", ["Western"], ["Comedy"]),
        ("Horrorfilme mag ich nicht", [], ["Horror"]),
        ("Ich suche einen Krimi ohne Liebe", ["Crime"], ["Romance"]),
        ("Dokus für meine Kinder", ["Children's", "Documentary"], []),
        ("einen lustigen Liebesfilm für meine Freundin", ["Comedy", "Romance"], []),
        ("J'adore les films policiers, pas de comédies", ["Crime"], ["Comedy"]),
        ("des dessins animés pour mes enfants", DISNEY, []),
        ("je n'aime pas les films d'horreur", [], ["Horror"]),
        ("quiero una película de ciencia ficción", ["Sci-Fi"], []),
        ("no me gustan las películas de terror, prefiero comedias", ["Comedy"], ["Horror"]),
    ],
)
def test_people_are_understood_as_they_talk(sentence, wanted, unwanted):
    reading = READER.read(sentence)
    assert said(reading) == (sorted(wanted), sorted(unwanted))
    assert (reading.absent, reading.not_understood) == ((), ())


@pytest.mark.parametrize(
    ("sentence", "strange", "absent"),
    [
        ("I did not like The Thin Red Line", ("The Thin Red Line",), ()),
        ("I loved You've Got Mail and Rudy", ("You've Got Mail",), ()),
        ("anything with Sandra Bullock", (), ("Sandra Bullock",)),
        ("Drew Gosling movies", (), ("Drew Gosling",)),
    ],
)
def test_names_that_nothing_here_has_are_reported_whole(sentence, strange, absent):
    reading = READER.read(sentence)
    assert (reading.not_understood, reading.absent) == (strange, absent)
    assert not reading.unwanted and not reading.groups


@pytest.mark.parametrize(
    "sentence",
    ["I don't mind westerns", "movies for a date night", "it's raining and I'm bored", "my wife"],
)
def test_talk_without_a_wish_asks_for_nothing(sentence):
    assert READER.read(sentence).empty


@pytest.mark.parametrize(
    ("sentence", "language"),
    [
        ("a film about sin", ""),
        ("sin terror", "spanish"),
        ("une comédie sans amour", "french"),
        ("kein Western", "german"),
        ("westerns", ""),
    ],
)
def test_a_sentence_has_the_language_of_its_small_words(sentence, language):
    assert Sentence.of(sentence).language == language


WORDS = st.sampled_from(
    "I not no love hated like Scream Star Trek Heat Bob De Niro the a and or but , . ? ( 1995 ) "
    "my kids 8 year old it them horror comedy E.T. pas ohne sin don't \" 80s mag".split()
)


@given(st.lists(WORDS, max_size=14).map(" ".join) | st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_sentence_is_read_the_same_twice(text):
    first, second = READER.read(text), READER.read(text)
    assert first == second
    tokens = Sentence.of(text).tokens
    assert all(token.mark or token.word for token in tokens)


def test_reading_is_quick():
    sentence = "I loved Xyzzy Plugh and Star Trek, no horror with Quux Garply please " * 3
    READER.read(sentence)
    started = time.perf_counter()
    for _ in range(5):
        READER.read(sentence)
    assert (time.perf_counter() - started) / 5 < 0.1
