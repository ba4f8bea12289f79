"""The Compare tab in Chromium: both modes with two people, and a film chosen from a list."""

import pytest
from playwright.sync_api import expect

from support.fakes import FakeMethodComparison, FakeRecommender
from support.pages import expect_field, serve, too_wide


@pytest.fixture(scope="module")
def address(fake_cache):
    recommender = FakeRecommender()
    yield from serve(recommender, FakeMethodComparison(recommender))


@pytest.mark.parametrize(
    ("theme", "width"), [pytest.param("light", 1280, marks=pytest.mark.long), ("dark", 375)]
)
def test_methods_and_people_are_compared(address, new_page, theme, width):
    page = new_page(f"{address}?tab=compare&user=3&item=7&__theme={theme}", width=width)
    shown = page.locator("#compare")
    expect(shown.locator("tbody tr")).to_have_count(4)  # two methods, the average, the truth
    expect(shown).to_contain_text("TALLRec")

    page.get_by_label("Second person").fill("8")
    page.get_by_label("Second person").press("Enter")
    expect(shown.locator("h3", has_text="User 8")).to_be_visible()

    page.locator("#compare-mode").get_by_label("Top list").check()
    # user 8 has rated all but 15 of the 40 films
    expect(shown.locator("svg g")).to_have_count(20 + 15)
    expect(shown.locator("table", has_text="Agreement")).to_have_count(2)
    row = shown.locator("tr[data-pick]").nth(2)
    item = row.get_attribute("data-pick")
    row.locator(".ckf-pick").click()
    expect_field(page, "item", item)
    expect(shown.locator("g.ckf-chosen").first).to_be_attached()
    assert too_wide(page) <= 0

    page.get_by_text("Add baselines").click()
    page.locator("#compare-baselines").get_by_label("EASE").check()
    expect(page.locator("#compare-fitting")).to_contain_text("Fitted: EASE (0.5 s)")
    expect(shown.locator("thead", has_text="EASE").first).to_be_attached()
    page.locator("#compare-mode").get_by_label("This film").check()
    expect(shown.locator("td", has_text="EASE")).to_have_count(2)
    page.locator("#compare-baselines").get_by_label("EASE").uncheck()
    expect(shown.locator("td", has_text="EASE")).to_have_count(0)

    for method in ("CKF", "TALLRec"):
        page.locator("#compare-methods").get_by_label(method).uncheck()
    expect(shown).to_contain_text("No method is chosen")
