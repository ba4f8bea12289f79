"""The Why tab in Chromium: counterfactuals are computed, read, chosen, stopped and gone on with."""

import re

import pytest
from playwright.sync_api import expect

from ckf_demo.inference import changed_histories
from support.fakes import FakeRecommender
from support.pages import FAKE, LONG_REAL, expect_field, serve, served_with, too_wide

# Milliseconds: all that the tab computes, on a busy machine.
ALL = 240_000


@pytest.fixture(scope="module")
def slow(fake_cache):
    """Somebody's recommender that takes its time, and where it is served."""
    recommender = FakeRecommender()
    with pytest.MonkeyPatch.context() as patch:
        # every film in a pass of its own
        patch.setattr(changed_histories, "PASS", 1)
        for url in serve(recommender):
            yield recommender, url


@pytest.mark.timeout(900)
@served_with(LONG_REAL, FAKE)
def test_a_counterfactual_is_read(address, new_page):
    page = new_page(f"{address}?tab=why&user=7")
    films = page.locator("#why-films")
    expect(films).to_contain_text(re.compile(r"(\d+) of \1 done"), timeout=ALL)
    rows = films.locator("tr[data-pick]")
    shown = int(re.search(r"(\d+) of \1 done", films.inner_text())[1])
    expect(rows).to_have_count(shown)
    expect(films.locator(".ckf-bar-of")).to_have_count(shown)
    # what stands in the table fits: as it is, minus without it, is the effect
    present = float(re.search(r"expected stars (\d\.\d\d)", films.inner_text())[1])
    cells = rows.first.locator("td").all_inner_texts()
    effect = float(cells[3].replace("−", "-"))
    assert abs(present - float(cells[2]) - effect) < 0.015

    title = rows.first.locator(".ckf-pick").inner_text()
    rows.first.locator(".ckf-pick").click()
    stars = page.locator("#why-stars")
    expect(stars).to_contain_text(title, timeout=ALL)
    expect(stars.locator("tbody tr")).to_have_count(6)
    expect(stars.locator("tr.ckf-selected")).to_contain_text("as it is")

    parts = page.locator("#why-parts")
    expect(parts).to_contain_text("Average bridges")
    page.get_by_label("Whose bridges").fill("3")
    page.get_by_label("Whose bridges").press("Enter")
    expect(parts).to_contain_text(re.compile("Bridges of user 3", re.IGNORECASE), timeout=ALL)
    expect(page.locator("#why-standing")).to_contain_text("The full answer")
    expect(page.locator("#why-standing")).to_contain_text(re.compile(r"\d+ % \(\d+–\d+ %\)"))
    later = re.compile(r"Of \d+ films? liked later")
    expect(page.locator("#why-later")).to_contain_text(later, timeout=ALL)
    expect(page.locator("#why-stop")).to_be_disabled()

    # a film that was liked later becomes the page's film, and the answers are about it
    row = page.locator("#why-later tr[data-pick]:not(.ckf-selected)").first
    item, name = row.get_attribute("data-pick"), row.locator(".ckf-pick").inner_text()
    row.locator(".ckf-pick").click()
    expect_field(page, "item", item)
    expect(films).to_contain_text(f"As it is, for {name}", timeout=ALL)


@pytest.mark.parametrize("at_once", [False, True])
def test_it_can_be_stopped_and_gone_on_with(slow, new_page, at_once):
    recommender, url = slow
    recommender.step_seconds = 3
    page = new_page(f"{url}?tab=why&user=7&item=7")
    films = page.locator("#why-films")
    expect(films.locator("tr[data-pick]")).not_to_have_count(0)
    page.locator("#why-stop").click()
    if not at_once:
        expect(films).to_contain_text("Stopped")
    expect(films).not_to_contain_text("12 of 12")
    recommender.step_seconds = 0
    page.locator("#why-again").click()
    expect(films).to_contain_text("12 of 12 done")
    expect(page.locator("#why-later")).to_contain_text("liked later,")


def test_another_chosen_method_is_said_not_to_answer_here(fake_address, new_page):
    page = new_page(f"{fake_address}?tab=why&user=7&item=7")
    said = page.locator("#why-method")
    expect(page.locator("#why-films tbody tr")).not_to_have_count(0)
    expect(said).to_be_empty()
    page.get_by_role("button", name="Choose moment and method").click()
    page.locator("#method label").nth(1).click()
    expect(said).to_contain_text("is chosen above")
    page.locator("#method label").first.click()
    expect(said).to_be_empty()


@pytest.mark.parametrize(
    ("theme", "width"), [pytest.param("light", 1280, marks=pytest.mark.long), ("dark", 375)]
)
def test_it_fits_and_says_what_it_compares(fake_address, new_page, theme, width):
    page = new_page(f"{fake_address}?tab=why&user=7&item=7&__theme={theme}", width=width)
    expect(page.locator("#why-later")).to_contain_text("liked later,")
    page.locator("#why-by").get_by_label("Likes it").check()
    expect(page.locator("#why-films .ckf-bar-value").first).to_contain_text("pts")
    assert too_wide(page) <= 0
