"""From one data set's page to another's in Chromium, by the links of the sidebar."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect

from ckf_demo.ui.app import build, launch
from ckf_demo.ui.pages import Place
from support.chromium import PATIENCE
from support.fakes import FakeRecommender
from support.pages import violations

FIRST, SECOND = Place("", "First data"), Place("second", "Second data")
PLACES = [FIRST, SECOND]


@pytest.fixture
def served(tmp_path, monkeypatch) -> Iterator[SimpleNamespace]:
    """Two pages, the second of which is built when ``go`` is set."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    go = threading.Event()
    demo = build(FakeRecommender(), places=PLACES, own=FIRST)

    def second():
        assert go.wait(60)
        return build(FakeRecommender(), places=PLACES, own=SECOND, beside=demo.service)

    launch(demo, [(SECOND, second)])
    yield SimpleNamespace(url=demo.local_url, go=go)
    demo.close()


@pytest.mark.parametrize("width", [375, pytest.param(1280, marks=pytest.mark.long)])
def test_a_link_leads_to_the_other_data_which_loads_and_answers(served, browser, width):
    # not by `new_page`: leaving a page ends its requests, and the page reports that
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.goto(served.url)
    page.wait_for_selector("body[data-ckf=ready]")

    def follow(name: str) -> None:
        if width < 400:
            page.locator(".sidebar .toggle-button").click()
        page.get_by_role("navigation", name="Data").get_by_role("link", name=name).click()

    follow("Second data")
    expect(page.get_by_role("status")).to_contain_text("Second data is loading")
    served.go.set()
    # it goes over into the page by itself
    expect(page.locator("body[data-ckf=ready]")).to_be_attached()
    current = page.locator(".ckf-data a[aria-current=page]")
    expect(current).to_have_text("Second data")
    assert page.url.startswith(f"{served.url}second/")
    # what needs a session of the page's own server is answered
    page.get_by_role("tab", name="Top-K").click()
    expect(page.locator("#topk .ckf-pick").first).to_be_visible()
    page.locator("#topk tr:not(.ckf-selected) .ckf-pick").first.click()
    expect(page.locator("#topk tr.ckf-selected")).to_have_count(1)
    assert page.url.startswith(f"{served.url}second/?")
    assert not [line for line in violations(page) if "ckf-data" in line]
    follow("First data")
    expect(current).to_have_text("First data")
    assert not page.url.startswith(f"{served.url}second")
    page.close()
