"""Which films somebody's own ratings are about: articles, years, other titles, misspelt ones."""

import pytest

from ckf_demo.data.rating_rows import read_ratings
from ckf_demo.retrieval.own_ratings import (
    MATCHED,
    NOT_FOUND,
    QUESTION,
    TitleMatcher,
    as_answer,
    open_rows,
)
from support.films import films

MORE = tuple(
    (title, year, "Drama", "", "", "", "", "", "")
    for title, year in [
        ("The Professional", 1994),
        ("Star Wars", 1977),
        ("Star Trek: The Wrath of Khan", 1982),
        ("Scream 2", 1997),
        ("Hamlet", 1990),
        ("Hamlet", 1996),
        ("Schindler's List", 1993),
        ("Hate (La Haine)", 1995),
        ("unknown", None),
        ("The Good, The Bad and The Ugly", 1966),
        ("Il Postino", 1997),
        ("Rear Window", 1954),
        ("Spider-Man Returns", 1978),
    ]
)


@pytest.fixture(scope="module")
def matcher() -> TitleMatcher:
    return TitleMatcher(films(MORE))


def asked(matcher: TitleMatcher, line: str) -> tuple[str, list[str]]:
    """The status of a line, and the titles it is about or may be about."""
    (row,) = matcher.match(read_ratings(f"{line}, 4")).rows
    items = [row.item] if row.item is not None else row.candidates
    data = matcher.prepared
    return row.status, [f"{data.titles[item]} {data.years[item]}" for item in items]


@pytest.mark.parametrize(
    ("line", "film"),
    [
        ("rear window (1954)", "Rear Window 1954"),
        ("Rear Window", "Rear Window 1954"),
        ("Jaws (1976)", "Jaws 1975"),
        ("The Jaws (1975)", "Jaws 1975"),
        ("Postman, the (1994)", "The Postman 1994"),
        ("Visitors (1993)", "The Visitors 1993"),
        ("Les Visitors (1993)", "The Visitors 1993"),
        ("Leon (1995)", "The Professional 1994"),
        ("Léon: The Professional (1994)", "The Professional 1994"),
        ("Star Wars: Episode IV - A New Hope (1977)", "Star Wars 1977"),
        ("Director's cut: Annie Hall (1977)", "Annie Hall 1977"),
        ("Scream II", "Scream 2 1997"),
        ("Hamlet (1991)", "Hamlet 1990"),
        ("Schindlers List (1993)", "Schindler's List 1993"),
        ("La Haine (1995)", "Hate (La Haine) 1995"),
        ("Good, the Bad & the Ugly, The (1966)", "The Good, The Bad and The Ugly 1966"),
        ("Spiderman Returns (1978)", "Spider-Man Returns 1978"),
    ],
)
def test_titles_and_years_are_matched(matcher, line, film):
    assert asked(matcher, line) == (MATCHED, [film])


@pytest.mark.parametrize(
    ("line", "films_asked"),
    [
        ("Rear Windw (1954)", ["Rear Window 1954"]),
        ("Unforgivn", ["Unforgiven 1992"]),
        ("Hamlet", ["Hamlet 1990", "Hamlet 1996"]),
        ("Jaws (1978)", ["Jaws 1975"]),
        ("Unknown (2011)", ["unknown 0"]),
        ("Star Trek II: The Wrath of Khan (1982)", ["Star Trek: The Wrath of Khan 1982"]),
    ],
)
def test_what_is_only_similar_is_a_question(matcher, line, films_asked):
    status, titles = asked(matcher, line)
    assert (status, sorted(titles)) == (QUESTION, films_asked)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Oppenheimer (2023)", "the catalogue ends in 1997"),
        ("Jaws (1995)", "the catalogue has that title from 1975 alone"),
        ("Scream 3 (1997)", "the catalogue has no such title"),
        ("The Third Man (1949)", "the catalogue has no such title"),
    ],
)
def test_what_is_not_there_has_a_reason(matcher, line, reason):
    (row,) = matcher.match(read_ratings(f"{line}, 4")).rows
    assert (row.status, row.reason) == (NOT_FOUND, reason)


def test_of_two_entries_with_one_title_the_one_with_more_ratings_is_meant(matcher):
    (row,) = matcher.match(read_ratings("Rear Window (1954), 4")).rows
    assert matcher.prepared.item_ids[row.item] == "1"


def test_the_newest_of_several_ratings_counts(matcher):
    table = (
        "Date,Name,Year,Letterboxd URI,Rating\n"
        "2024-05-02,Jaws,1975,u,2\n2023-01-01,Jaws,1975,u,5\n2022-01-01,Alien,1979,u,4\n"
        "2021-01-01,High Noon,1952,u,3.5\n"
    )
    matches = matcher.match(read_ratings(table))
    answer = as_answer(matcher.prepared, matches)
    assert answer["history"] == [
        {"item": "4", "rating": 3.5, "imported": True},
        {"item": "6", "rating": 2.0, "imported": True},
    ]
    assert answer["notes"] == ["1 ratings give way to newer ones of the same title."]
    assert open_rows(matches) == [
        {"title": "Alien", "year": 1979, "rating": 4.0, "reason": "the catalogue has no such title"}
    ]


def test_matches_are_mended(matcher):
    matches = matcher.match(read_ratings("Hamlet, 3\nJaws, 5"))
    assert matches.history() == {5: 5.0}
    mended = matches.changed(0, 16).changed(1, None)
    assert mended.history() == {16: 3.0}
    assert [row.reason for row in mended.rows] == ["chosen", "left out"]


def test_an_id_counts_where_the_title_agrees(matcher):
    table = "item,title,year,rating\n4,High Noon,1952,5\n4,Jaws,1975,3\n6,,,2\n"
    rows = matcher.match(read_ratings(table)).rows
    assert [row.item for row in rows] == [3, 5, 5]
