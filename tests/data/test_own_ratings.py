"""Ratings that somebody brings: archives, encodings, separators, columns, lines and scales."""

import gzip
import io
import json
import tempfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_demo.data import rating_files
from ckf_demo.data.rating_rows import read_ratings, to_stars
from ckf_demo.runtime.errors import UserError

LETTERBOXD = (
    "Date,Name,Year,Letterboxd URI,Rating\n"
    "2024-03-02,Alien,1979,https://boxd.it/a,0.5\n"
    '2024-03-01,"Cook, the Thief, His Wife & Her Lover, The",1989,https://boxd.it/b,4.5\n'
    "2024-03-03,Arrival,2016,https://boxd.it/c,\n"
)
IMDB = (
    "Const,Your Rating,Date Rated,Title,Original Title,URL,Title Type,IMDb Rating,Year\n"
    "tt1,9,2020-03-01,Life Is Beautiful,La vita è bella,u,Movie,8.6,1997\n"
    "tt2,1,2020-03-02,Cats,Cats,u,Movie,2.8,2019\n"
    "tt3,8,2020-03-02,Pilot,Pilot,u,TV Episode,9.8,1990\n"
)


def stars(given: object, scale: object = None) -> dict[str, float]:
    return {rating.title: rating.stars for rating in read_ratings(given, scale).ratings}


def zipped(**members: str | bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return file.getvalue()


def test_letterboxd_keeps_half_stars_and_leaves_out_what_is_not_rated():
    read = read_ratings(LETTERBOXD.encode())
    assert (read.source, read.scale) == ("Letterboxd export", 5)
    # oldest first, the article in front
    title = "The Cook, the Thief, His Wife & Her Lover"
    assert [(each.title, each.stars) for each in read.ratings] == [(title, 4.5), ("Alien", 0.5)]
    assert read.left_out == {"not rated": 1}


def test_imdb_is_halved_and_knows_original_titles():
    read = read_ratings(IMDB.encode("utf-8-sig"))
    assert (read.source, read.scale) == ("IMDb export", 10)
    assert stars(IMDB) == {"Life Is Beautiful": 4.5, "Cats": 0.5}
    assert read.ratings[0].others == ("La vita è bella",) and read.ratings[0].year == 1997
    assert read.left_out == {"not a film": 1}


def test_an_archive_gives_the_ratings_that_count():
    archive = zipped(
        **{
            "letterboxd-ann/profile.csv": "Date Joined,Username\n2020-01-01,ann\n",
            "letterboxd-ann/deleted/ratings.csv": LETTERBOXD.replace("4.5", "1"),
            "letterboxd-ann/ratings.csv": LETTERBOXD,
            "letterboxd-ann/watched.csv": "Date,Name,Year,Letterboxd URI\n",
        }
    )
    read = read_ratings(archive)
    assert max(each.stars for each in read.ratings) == 4.5
    assert read.source == "Letterboxd export, letterboxd-ann/ratings.csv"


@pytest.mark.parametrize(
    "name", ["../../../../tmp/escaped/ratings.csv", "C:\\x\\ratings.csv", "/r.csv"]
)
def test_paths_in_an_archive_are_names_alone(name, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert len(read_ratings(zipped(**{name: LETTERBOXD})).ratings) == 2
    assert not list(tmp_path.rglob("*")), "nothing is written"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings_are_recognised(encoding):
    text = "Title;Year;Rating\nLes Misérables;1995;4\nCafé Society;1995;3\n"
    assert stars(text.encode(encoding)) == {"Les Misérables": 4, "Café Society": 3}


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("Titel;Jahr;Bewertung\nHeat;1995;4,5\nAlien;1979;1,5\n", 5),
        ("sep=;\nTitle;Year;Rating\nHeat;1995;4,5\nAlien;1979;1,5\n", 5),
        ("FILM\tYEAR\tRATING (1-10)\nHeat\t1995\t9\nAlien\t1979\t3\n", 10),
        ("Title,Year,Rating10\nHeat,1995,9\nAlien,1979,3\n", 10),
        ("movie|release date|my rating\nHeat|1995-12-15|90\nAlien|1979-09-06|30\n", 100),
        ("Title,Rating\nHeat (1995),★★★★½\nAlien (1979),★½\n", 5),
        ("Title,Rating\nHeat (1995),9/10\nAlien (1979),30%\n", 5),
        ('[{"name": "Heat", "year": 1995, "score": 4.5}, {"name": "Alien", "score": "1.5"}]', 5),
        ('{"title": "Heat", "rating": 9}\n{"title": "Alien", "rating": 3}\n', 10),
    ],
)
def test_tables_of_every_kind_give_the_same_stars(text, scale):
    assert read_ratings(text).scale == scale
    assert stars(text) == {"Heat": 4.5, "Alien": 1.5}


@pytest.mark.parametrize(
    ("line", "title", "year", "rated"),
    [
        ("Fargo (1996) 4.5", "Fargo", 1996, 4.5),
        ("- Fargo, 1996, 4", "Fargo", 1996, 4),
        ("3. Fargo: 9/10", "Fargo", 0, 4.5),
        ("★★★★½ Fargo (1996)", "Fargo", 1996, 4.5),
        ("Fargo ★★★", "Fargo", 0, 3),
        ("1996; Fargo; 3,5", "Fargo", 1996, 3.5),
        ("Blade Runner 2049, 4", "Blade Runner 2049", 0, 4),
        ("2001: A Space Odyssey 5 stars", "2001: A Space Odyssey", 0, 5),
        ("1984 3", "1984", 0, 3),
        ('"Good, the Bad and the Ugly, The",1966,5', "The Good, the Bad and the Ugly", 1966, 5),
        ("Alien 3 - 2", "Alien 3", 0, 2),
    ],
)
def test_lines_are_read(line, title, year, rated):
    (rating,) = read_ratings(f"{line}\n").ratings
    assert (rating.title, rating.year, rating.stars) == (title, year, rated)


def test_a_number_of_a_title_does_not_change_the_scale_of_the_lines():
    read = read_ratings("Fargo 4\nHeat 3.5\nApollo 13\nJaws 5\nBlade Runner 2049\n")
    assert read.scale == 5 and len(read.ratings) == 3
    assert read.left_out == {"a line without a rating": 1, "a rating outside 0 to 5": 1}


@given(st.integers(1, 10), st.integers(0, 100))
def test_scales_are_shares_of_five_stars(points, percent):
    assert to_stars(points, 10) == points / 2
    assert abs(to_stars(percent, 100) - percent / 20) <= 0.5
    assert to_stars(percent, 100) * 2 == int(to_stars(percent, 100) * 2)


def test_a_scale_that_is_given_counts():
    table = "title,rating\nHeat,4\nAlien,2\n"
    assert stars(table) == {"Heat": 4, "Alien": 2}
    assert stars(table, 10) == {"Heat": 2, "Alien": 1}
    assert stars(table, "10") == stars(table, 10.0)
    assert stars("title,rating\nHeat,9\nAlien,2\n", 5) == {"Alien": 2}


@pytest.mark.parametrize("scale", ["a", 7, True, -5])
def test_an_unknown_scale_is_explained(scale):
    with pytest.raises(UserError, match="give one of 5, 10, 100"):
        read_ratings(LETTERBOXD, scale)


def test_cells_that_a_spreadsheet_would_compute_come_back_as_they_were():
    table = 'title,year,rating\n"\'=1+1",1999,4\n"\'-5",1999,3\n\'Round Midnight,1986,5\n'
    assert set(stars(table)) == {"=1+1", "-5", "'Round Midnight"}


BOMB = zipped(**{"ratings.csv": b"0" * (rating_files.LARGEST_TABLE + 1)})
MANY = zipped(**{f"{n}.csv": "" for n in range(rating_files.MOST_MEMBERS + 1)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \r\n", "the file is empty"),
        (b"x" * (rating_files.LARGEST_FILE + 1), "more than the 4,194,304 that are read"),
        (BOMB, "once it is unpacked"),
        (gzip.compress(b"0" * (rating_files.LARGEST_TABLE + 1)), "once it is unpacked"),
        (MANY, "which no export does"),
        (zipped(**{"ratings.csv": LETTERBOXD})[:150], "the zip file is damaged"),
        (gzip.compress(LETTERBOXD.encode())[:60], "the gzip file is damaged"),
        (zipped(**{"a.csv": "x", "b.csv": "y"}), "has no ratings.csv; it holds a.csv, b.csv"),
        (zipped(**{"[Content_Types].xml": "x", "sheet.csv": "y"}), "of Excel or Word"),
        (zipped(**{"ratings.csv": ""}), "the file is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "is a picture"),
        (b"%PDF-1.7 ...", "is a PDF"),
        (b"<!doctype html><html>title,rating</html>", "a web page"),
        (bytes(range(256)) * 20, "no text"),
        (b"hello", "none of the rows holds a rating"),
        (b"a,b,c\n1,2,x\n", "none of the rows holds a rating"),
        (b"title,year,director\nHeat,1995,Mann\n", "no columns of title and rating"),
        (b"title,rating\nHeat,1000\n", "on no scale that is known"),
        (b"title,rating\nHeat,\nAlien,0\n", "2 × not rated"),
        (b"title,rating\n" + b'"' + b"x" * 200_000, "cannot be read"),
        (b"[" * 100_000, "nested too deeply|none of the rows|cannot be read"),
        (b"[1, 2]", "a list of ratings holds objects"),
        (b'[{"title": "Heat"}]', "no columns of title and rating"),
        (b"title,rating\n" + b"Heat,4\n" * 20_001, "20,001 rows are more than the 20,000"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_what_cannot_be_read_is_one_clear_message(content, message):
    with pytest.raises(UserError, match=message) as error:
        read_ratings(content)
    assert len(str(error.value)) < 400 and "\n" not in str(error.value)


def test_a_locked_archive_is_explained():
    archive = bytearray(zipped(**{"ratings.csv": LETTERBOXD}))
    # the flag of an encrypted member, in its own header and in the archive's list
    for header, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        archive[archive.index(header) + place] |= 1
    with pytest.raises(UserError, match="locked by a password"):
        read_ratings(bytes(archive))


@given(st.binary(max_size=400))
def test_no_bytes_end_in_anything_but_ratings_or_a_message(content):
    for beginning in (b"", b"PK\x03\x04", b"\x1f\x8b", b"title,rating\n", b"["):
        try:
            read = read_ratings(beginning + content)
        except UserError:
            continue
        assert all(0.5 <= rating.stars <= 5 for rating in read.ratings)


@given(st.text(max_size=200))
def test_no_text_does_either(text):
    for given_text in (
        text,
        f"title,year,rating\n{text}",
        json.dumps([{"title": text, "rating": text}]),
    ):
        try:
            read = read_ratings(given_text)
        except UserError:
            continue
        assert all(rating.title.isprintable() for rating in read.ratings)
