"""The page of a checkpoint whose data hold only likes, in Chromium: a place is picked from the
list, explained and held against another one, and a new person is made of two places."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from support.pages import film_of, serve, too_wide, violations
from support.positive_only import load_positive_only


@pytest.fixture(scope="module")
def address(positive_only_workplace) -> Iterator[str]:
    yield from serve(load_positive_only(positive_only_workplace))


@pytest.mark.parametrize("width", [375, pytest.param(1280, marks=pytest.mark.long)])
def test_a_place_is_picked_and_explained(address, new_page, width):
    page = new_page(f"{address}?tab=topk", width=width)
    before = film_of(page)
    row = page.locator("#topk tbody tr:not(.ckf-selected)").first
    name = row.locator(".ckf-pick").inner_text().split("\n")[0]
    row.locator(".ckf-pick").click()
    expect(page.locator("#pair .ckf-what strong")).to_have_text(name)
    assert name != before
    expect(page.locator("#topk tr.ckf-selected .ckf-pick")).to_contain_text(name)
    expect(page.locator("#explanation-topk .ckf-time")).to_be_visible()
    page.get_by_role("tab", name="Predict").click()
    expect(page.locator("#click")).to_contain_text("Compared with one place")
    expect(page.locator("#rating")).to_be_hidden()
    expect(page.locator("#stop-predict")).to_be_disabled()
    assert too_wide(page) <= 0
    # the address brings the same pair back
    assert "item=" in page.url
    again = new_page(page.url, width=width)
    expect(again.locator("#pair .ckf-what strong")).to_have_text(name)


@pytest.mark.parametrize("width", [375, pytest.param(1280, marks=pytest.mark.long)])
def test_a_place_is_held_against_another_one_and_other_bridges(address, new_page, width):
    page = new_page(address, width=width)
    page.get_by_role("button", name="Why this place and not another?").click()
    shown = page.locator("#contrast")
    page.locator("#contrast-run").click()
    expect(shown).to_contain_text("choose another place")
    page.locator("#contrast-find").get_by_role("textbox").press_sequentially("Cafe")
    others = page.locator("#contrast-found tbody .ckf-pick").filter(has_not_text=film_of(page))
    others.first.click()
    beside = page.locator("#contrast-chosen")
    expect(beside).to_contain_text("Beside")
    name = beside.inner_text().removeprefix("Beside ").split(", No.")[0]
    page.locator("#contrast-bridges").get_by_role("textbox").fill("1")
    page.locator("#contrast-run").click()
    expect(shown.locator(".ckf-rests")).to_have_count(3)
    headings = shown.locator("h3")
    expect(headings.nth(1)).to_contain_text(name)
    expect(headings.nth(2)).to_contain_text("through the bridges of user 1")
    expect(page.locator("#contrast-stop")).to_be_disabled()
    assert too_wide(page) <= 0
    # what was said belongs to the place that it was said of
    page.locator("#history tbody tr:not(.ckf-selected) .ckf-pick").first.click()
    expect(shown.locator("section")).to_have_count(0)


@pytest.mark.parametrize("width", [375, pytest.param(1280, marks=pytest.mark.long)])
def test_a_new_person_is_made_of_two_places(address, new_page, width):
    page = new_page(address, width=width)
    if width < 400:
        page.locator(".sidebar .toggle-button").click()
    page.locator("#user-search textarea, #user-search input").first.fill("nobody")
    page.keyboard.press("Enter")
    expect(page.locator("#user-problem")).to_contain_text("nobody")
    page.get_by_role("tab", name="New person").click()
    page.locator("#find-films textarea, #find-films input").first.press_sequentially("Cafe")
    for number in (0, 1):
        page.locator("#found-films [data-pick]").nth(number).click()
        expect(page.locator("#rated-films li")).to_have_count(number + 1)
    page.locator("#use").click()
    if width < 400:
        # the drawer, which a message had kept open, makes room
        expect(page.locator(".sidebar.open")).to_have_count(0)
    expect(page.locator("#pair .ckf-who")).to_contain_text("2 likes")
    expect(page.locator("#history")).to_contain_text("n = 2")
    expect(page.locator("#click")).to_contain_text("Would they like it?")
    if width < 400:
        page.locator(".sidebar .toggle-button").click()
    page.locator("#rated-films [data-remove]").first.click()
    expect(page.locator("#pair .ckf-who")).to_contain_text("1 like")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_has_no_grave_violation(address, new_page, theme):
    page = new_page(f"{address}?__theme={theme}")
    for fold in ("Choose another place", "Why this place and not another?", "Figures as tables"):
        page.get_by_role("button", name=fold).click()
    page.get_by_role("tab", name="New person").click()
    page.wait_for_timeout(500)
    assert violations(page) == []
