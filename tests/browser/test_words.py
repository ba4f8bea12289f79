"""A sentence steers the list: typed, read, answered, and weighed by the slider."""

import re

from playwright.sync_api import Page, expect

from support.pages import (
    FACTS,
    FAKE,
    REAL,
    expect_field,
    fields,
    open_tab,
    served_with,
    settle,
    too_wide,
    violations,
)


def describe(page: Page, sentence: str) -> None:
    """Describe a new person by a sentence, and ask by the Enter key."""
    page.get_by_role("tab", name="New person").click()
    taste = page.get_by_label("What do you like, in a sentence?")
    taste.fill(sentence)
    taste.press("Enter")
    expect_field(page, "taste", sentence)


def listed(page: Page) -> list[str]:
    """The genres of the list's items, in its order."""
    expect(page.locator("#topk tr[data-pick]")).to_have_count(10)
    settle(page)
    return page.locator("#topk tr[data-pick]").all_inner_texts()


@served_with(REAL)
def test_the_list_follows_the_sentence_and_the_slider(address, new_page):
    page = new_page(f"{address}?tab=topk")
    describe(page, "westerns, nothing with Clint Eastwood")
    expect(page.locator("#reading .ckf-wanted")).to_contain_text("Western")
    expect(page.locator("#reading .ckf-unwanted")).to_contain_text("not Clint Eastwood")
    rows = listed(page)
    assert all("Western" in row for row in rows)
    assert not any("Unforgiven" in row for row in rows)

    page.locator("#strength input[type=number]").fill("0")
    page.locator("#strength input[type=number]").press("Enter")
    expect_field(page, "strength", "0")
    assert not all("Western" in row for row in listed(page))
    other = new_page(page.url)
    assert fields(other)["strength"] == "0"
    assert listed(other) == listed(page)


@served_with(FAKE)
def test_what_is_not_understood_is_said(address, new_page):
    page = new_page(address)
    describe(page, "asdf qwerty")
    expect(page.locator("#reading")).to_contain_text("so they change nothing")
    describe(page, "dramas, <b>xyzzy</b>")
    expect(page.locator("#reading .ckf-wanted")).to_have_text(re.compile("^Drama"))
    expect(page.locator("#reading")).to_contain_text("“xyzzy”")
    assert page.locator("#reading b").count() == 0
    open_tab(page, "Top-K")
    assert all("Drama" in row for row in listed(page)[:5])


@served_with(FACTS)
def test_a_film_found_by_its_theme_is_described_beside_its_explanation(address, new_page):
    page = new_page(address, width=375, height=812)
    page.get_by_role("button", name="Choose another film").click()
    page.get_by_label("Find a film").fill("sharks")
    row = page.locator("#films-found tr[data-pick]")
    expect(row).to_have_count(1)
    expect(row).to_contain_text(re.compile(r"directed by (Ann Lee|Bo Ray)"))
    expect(row).to_contain_text("sharks")
    row.locator("button").click()
    expect_field(page, "item", "7")
    about = page.locator("#explanation-predict .ckf-about")
    expect(about).to_contain_text("Somebody looks for the sea.")
    expect(about).to_contain_text("sharks, beach")
    settle(page)
    assert too_wide(page) <= 0
    assert violations(page) == []
