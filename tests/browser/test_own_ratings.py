"""Bring your ratings in Chromium: a file and pasted lines are matched, mended and used."""

import csv
import io
import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from support.pages import expect_field, fields, too_wide, violations

pytestmark = pytest.mark.long

LETTERBOXD = (
    "Date,Name,Year,Letterboxd URI,Rating\n"
    "2024-01-01,Quiet Harbour,1930,u,4.5\n"
    "2024-01-02,The Quiet Orchard,1933,u,0.5\n"
    "2024-01-03,Quiet Machin,1934,u,3\n"
    "2024-01-04,=Oppenheimer,2023,u,5\n"
    "2024-01-05,Quiet Winter,1936,u,\n"
)


@pytest.fixture
def export(tmp_path) -> Path:
    path = tmp_path / "letterboxd.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letterboxd/ratings.csv", LETTERBOXD)
        archive.writestr("letterboxd/profile.csv", "a,b\n1,2\n")
    return path


def open_dialog(page: Page) -> None:
    page.get_by_role("tab", name="New person").click()
    page.locator("#own-ratings-open").click()
    expect(page.locator("#own-ratings-title")).to_be_visible()


@pytest.mark.parametrize("width", [1440, 375])
def test_ratings_are_imported_and_a_match_is_mended(fake_address, new_page, export, width):
    page = new_page(fake_address, width=width)
    page.evaluate("window.ckf.openDrawer()")
    open_dialog(page)
    expect(page.locator("#own-file")).to_be_focused()
    page.locator("#own-file").set_input_files(export)
    listing = page.locator("#own-listing")
    expect(listing.locator(".ckf-own-sum")).to_contain_text(
        "2 of 4 ratings matched, 1 to be asked. Read as Letterboxd export, "
        "letterboxd/ratings.csv, scale of 5; 1 left out (not rated)."
    )
    assert too_wide(page) <= 0 and violations(page) == []

    # a question is answered, a match changed, and what was not found is chosen by hand
    listing.get_by_role("button", name="Quiet Machine (1934)").click()
    expect(page.locator("#own-use")).to_have_text("Use 3 ratings")
    listing.get_by_role("button", name=re.compile(r"^Change: Quiet Harbour")).click()
    expect(page.locator("#own-asked")).to_contain_text("Which film is “Quiet Harbour (1930)”?")
    find = page.locator("#own-find input, #own-find textarea")
    expect(find).to_be_focused()
    find.fill("loud harbour")
    page.locator("#own-found").get_by_role("button", name=re.compile("Loud Harbour")).click()
    expect(page.locator("#own-mend")).to_be_hidden()
    expect(listing).to_contain_text("Loud Harbour")
    with page.expect_download() as download:
        page.locator("#own-unmatched-save-csv").click()
    path = export.parent / "open.csv"
    download.value.save_as(path)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    assert [row["title"] for row in rows] == ["'=Oppenheimer"]
    listing.get_by_role("button", name=re.compile(r"^Leave out: The Quiet Orchard")).click()
    expect(page.locator("#own-use")).to_have_text("Use 2 ratings")

    page.locator("#own-use").click()
    expect(page.locator("#own-ratings-title")).to_be_hidden()
    expect(page.locator("#pair .ckf-who")).to_contain_text("New person")
    expect(page.locator("#pair .ckf-who")).to_contain_text("2 ratings")
    assert fields(page)["rated"] == "6:4.5,3:3"
    expect(page.locator("#rating .ckf-figure strong")).to_have_text(re.compile(r"^[1-5]\.\d\d$"))
    # the link opens the same elsewhere, half stars too
    elsewhere = new_page(page.url)
    expect(elsewhere.locator("#pair .ckf-who")).to_contain_text("2 ratings")
    expect(elsewhere.locator("#history")).to_contain_text("4.5")


def test_lines_are_matched_and_another_scale_is_chosen(fake_address, new_page):
    page = new_page(fake_address)
    open_dialog(page)
    page.get_by_role("button", name="Or paste lines").click()
    page.locator("#own-lines textarea").fill("Quiet Harbour (1930) 5\nLoud Orchard; 4")
    page.locator("#own-match").click()
    expect(page.locator("#own-listing")).to_contain_text("Read as lines, scale of 5")
    expect(page.locator("#own-listing .ckf-own-stars").first).to_have_text("4 ★")
    page.locator("#own-scale").get_by_label("up to 10", exact=True).check()
    expect(page.locator("#own-listing .ckf-own-stars").first).to_have_text("2 ★")
    page.keyboard.press("Escape")
    expect(page.locator("#own-ratings-title")).to_be_hidden()
    expect(page.locator("#own-ratings-open")).to_be_focused()


def test_what_cannot_be_read_is_one_message(fake_address, new_page, tmp_path, problems):
    page = new_page(fake_address)
    open_dialog(page)
    picture, large = tmp_path / "cat.png", tmp_path / "large.csv"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
    large.write_bytes(b"x" * (5 << 20))
    for path, said in ((large, "large.csv has more than 4 MB"), (picture, "is a picture")):
        page.locator("#own-file").set_input_files(path)
        expect(page.locator("#own-problem")).to_contain_text(said)
        expect(page.locator("#own-use")).to_be_disabled()
    page.get_by_role("button", name="Or paste lines").click()
    page.locator("#own-match").click()
    expect(page.locator("#own-problem")).to_contain_text("no ratings were given")
    # the browser reports every answer of 400, and the page says more
    problems[:] = [text for text in problems if "400" not in text]


def test_ratings_far_below_one_star_are_in_the_address(fake_address, new_page):
    page = new_page(f"{fake_address}?rated=4:0.5,9:3.5")
    expect(page.locator("#pair .ckf-who")).to_contain_text("2 ratings")
    page.get_by_role("tab", name="New person").click()
    expect(page.locator("#rated-films li").first.locator(".ckf-half")).to_have_count(1)
    page.locator("#rated-films li").nth(1).locator("[data-rating='4']").click()
    expect_field(page, "rated", "4:0.5,9:4")
