"""The Data tab in Chromium: a ready-made analysis, its plot, table and file, and an error."""

import csv
import re

import pytest
from playwright.sync_api import expect

from support.pages import open_tab, settle, too_wide


@pytest.mark.parametrize(
    ("theme", "width"), [("light", 1280), pytest.param("dark", 375, marks=pytest.mark.long)]
)
def test_an_analysis_is_run_drawn_and_downloaded(fake_address, new_page, theme, width):
    page = new_page(f"{fake_address}?__theme={theme}", width=width)
    open_tab(page, "Data")
    shown = page.locator("#data-result")
    expect(shown).to_contain_text("Nothing was asked yet")
    expect(page.locator("#data-schema details")).to_have_count(5)
    page.get_by_label("Ready-made analysis").click()
    page.get_by_role("option", name="Sparsity").click()
    expect(page.locator("#data-about")).to_contain_text("is filled")
    page.locator("#data-run").click()

    rows = shown.locator("tbody tr")
    expect(rows.first).to_contain_text("231")
    expect(shown.locator("svg .bars").first).to_be_visible()
    head = shown.locator("th", has_text="users")
    head.locator(".ckf-sort").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert too_wide(page) <= 0

    with page.expect_download() as started:
        page.locator("#data-download").click()
    with open(started.value.path(), encoding="utf-8", newline="") as file:
        names, *found = csv.reader(file)
    assert names == ["part", "users", "items", "ratings", "percent_filled"]
    assert found[0][0] == "all" and found[0][3] == "231"
    assert started.value.suggested_filename == "made-up-query.csv"


def test_a_query_of_ones_own_runs_by_key_and_errors_keep_the_text(fake_address, new_page):
    page = new_page(f"{fake_address}?tab=data")
    box = page.locator("#data-sql textarea")
    shown = page.locator("#data-result")
    expect(box).to_have_css("font-family", re.compile("monospace"))
    wrong = "SELECT titel\nFROM items"
    box.fill(wrong)
    box.press("Control+Enter")
    expect(shown.locator(".ckf-problem")).to_contain_text('"titel" not found')
    expect(shown.locator("pre")).to_contain_text("LINE 1: SELECT titel")
    expect(box).to_have_value(wrong)
    expect(page.locator("#data-download")).to_be_disabled()

    box.fill("SELECT title, id FROM items")
    box.press("Control+Enter")
    expect(shown.locator("tbody tr")).to_have_count(40)
    expect(shown.locator("tbody")).to_contain_text("<b>Bold</b>")
    expect(shown.locator("tbody b")).to_have_count(0)

    box.fill("FROM range(3000)")
    box.press("Control+Enter")
    expect(shown).to_contain_text("Truncated at 1,000 rows")


def test_a_typed_query_is_never_lost(fake_address, new_page):
    page = new_page(f"{fake_address}?tab=data")
    box, listed = page.locator("#data-sql textarea"), page.get_by_label("Ready-made analysis")
    typed = "SELECT 42 AS mine"
    box.fill(typed)
    # the list is passed by keyboard, and opened and left again
    listed.focus()
    page.keyboard.press("Tab")
    settle(page)
    expect(box).to_have_value(typed)
    listed.click()
    page.locator("h1").click()
    settle(page)
    expect(box).to_have_value(typed)

    listed.click()
    page.get_by_role("option", name="Sparsity").click()
    expect(page.locator("#data-about")).to_contain_text("is filled")
    expect(box).not_to_have_value(typed)
    listed.click()
    page.get_by_role("option", name="Own query 1").click()
    expect(box).to_have_value(typed)
    # by keyboard too
    listed.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(box).not_to_have_value(typed)
