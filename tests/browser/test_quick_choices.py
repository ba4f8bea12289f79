"""Choices that follow one another faster than they are answered: none is dropped, the last wins."""

import pytest
from playwright.sync_api import Page, expect

from support.pages import expect_field, film_of, open_tab

pytestmark = pytest.mark.long

CLICK = """async ([selector, places, pause]) => {
  for (const place of places) {
    document.querySelectorAll(selector)[place].click();
    await new Promise((done) => setTimeout(done, pause));
  }
}"""


def click(page: Page, selector: str, places: list[int], pause: int) -> None:
    """Click elements one after the other, with a pause of so many milliseconds."""
    page.evaluate(CLICK, [selector, places, pause])


def test_filters_are_in_the_address_and_a_typed_k_is_the_list(fake_address, new_page):
    page = new_page(f"{fake_address}?tab=topk&top=12&genre=Drama&from=1940")
    rows = page.locator("#topk tr[data-pick]")
    expect(rows).to_have_count(9)
    number = page.locator("#k input[type=number]")
    expect(number).to_have_value("12")
    number.fill("5")
    number.press("Enter")
    expect(rows).to_have_count(5)
    expect_field(page, "top", "5")
    number.fill("500")
    number.press("Enter")
    expect(page.locator("#topk")).to_contain_text("is not within 1 to 50")
    expect(rows).to_have_count(0)
    expect_field(page, "top", "5")
    number.fill("10")
    number.press("Enter")
    expect(rows).to_have_count(9)
    # what is as at first is left out
    page.wait_for_function("!new URL(location.href).searchParams.has('top')")
    expect_field(page, "genre", "Drama")


@pytest.mark.parametrize("pause", [20, 150, 300])
def test_the_last_of_three_quick_rows_is_the_film(fake_address, new_page, pause):
    page = new_page(f"{fake_address}?tab=topk")
    rows = page.locator("#topk tr[data-pick]")
    expect(rows).to_have_count(10)
    last = rows.nth(6)
    item, name = last.get_attribute("data-pick"), last.locator(".ckf-pick").inner_text()
    click(page, "#topk tr[data-pick] .ckf-pick", [2, 4, 6], pause)
    expect(page.locator("#pair .ckf-what strong")).to_have_text(name)
    expect_field(page, "item", item)
    expect(page.locator("#topk tr.ckf-selected")).to_have_attribute("data-pick", item)


def test_the_last_of_three_quick_films_found_is_chosen(fake_address, new_page):
    page = new_page(fake_address)
    page.get_by_role("button", name="Choose another film").click()
    page.locator("#find-film input, #find-film textarea").fill("loud")
    rows = page.locator("#films-found tr[data-pick]")
    expect(rows).to_have_count(5)
    name = rows.nth(3).locator(".ckf-pick").inner_text()
    click(page, "#films-found .ckf-pick", [0, 1, 3], 20)
    expect(page.locator("#pair .ckf-what strong")).to_have_text(name)
    page.wait_for_timeout(500)
    assert film_of(page) == name


def test_five_quick_stars_all_count(fake_address, new_page):
    page = new_page(fake_address)
    page.get_by_role("tab", name="New person").click()
    page.locator("#find-films input, #find-films textarea").fill("loud")
    stars = page.locator("#found-films .ckf-star[data-rating='4']")
    expect(stars).to_have_count(5)
    click(page, "#found-films .ckf-star[data-rating='4']", [0, 1, 2, 3, 4], 20)
    expect(page.locator("#rated-films li")).to_have_count(5)


def test_the_last_of_the_examples_and_users_is_the_person(fake_address, new_page):
    page = new_page(fake_address)
    click(page, "#example-1, #example-2, #example-3", [2, 0, 1], 20)
    expect(page.locator("#pair .ckf-who strong")).to_have_text("User 16")
    users = page.locator("#users tr[data-pick]")
    last = users.nth(5).get_attribute("data-pick")
    click(page, "#users .ckf-pick", [1, 3, 5], 20)
    expect(page.locator("#pair .ckf-who strong")).to_have_text(f"User {last}")
    open_tab(page, "Why")
    expect_field(page, "user", last)
