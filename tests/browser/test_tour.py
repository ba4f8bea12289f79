"""The short tour in Chromium: by keyboard, dismissed once for all visits, covering nothing."""

import pytest
from playwright.sync_api import expect

from support.pages import expect_answers, reload


def boxes(page, *selectors: str) -> list[dict]:
    return [page.locator(selector).bounding_box() for selector in selectors]


@pytest.mark.parametrize("width", [375, 1280])
def test_a_first_visit_is_shown_round_once(fake_address, new_page, problems, width):
    page = new_page(fake_address, width=width)
    strip = page.locator(".ckf-tour")
    expect(strip).to_be_visible()
    tour, pair = boxes(page, ".ckf-tour", "#pair")
    assert tour["y"] + tour["height"] <= pair["y"]
    assert page.locator("#pair.ckf-pointed").count() == 1

    # By keyboard; the strip keeps its height from step to step.
    page.locator("[data-tour=next]").focus()
    heights = {tour["height"]}
    for place in range(2, 6):
        page.keyboard.press("Enter")
        expect(page.locator(".ckf-tour-place")).to_have_text(f"{place} of 5")
        expect(page.locator(".ckf-tour li.ckf-now")).to_have_count(1)
        assert page.locator(".ckf-pointed").count() == 1
        heights.add(boxes(page, ".ckf-tour")[0]["height"])
    assert len(heights) == 1
    page.keyboard.press("Escape")
    expect(strip).to_be_hidden()
    expect(page.locator("#tour-again")).to_be_focused()
    assert page.locator(".ckf-pointed").count() == 0

    reload(page, problems)
    expect(strip).to_be_hidden()
    page.locator("#tour-again").click()
    expect(strip).to_be_visible()
    page.locator("[data-tour=close]").click()
    expect(strip).to_be_hidden()
    expect_answers(page)
