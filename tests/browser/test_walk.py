"""Walks through the page in Chromium: every tab with a known user and with a new person.

All walks run against a recommender without weights; the two whole walks also against the committed
checkpoint. Screenshots go to pytest's temporary folder.
"""

import re
import threading

import pytest
from playwright.sync_api import Page, expect

from ckf_demo.ui import app
from ckf_demo.ui.app import LABELS
from ckf_demo.ui.pair import from_query
from support.chromium import PATIENCE
from support.pages import (
    FAKE,
    LONG_FAKE,
    LONG_REAL,
    REAL,
    expect_answers,
    expect_field,
    fields,
    film_of,
    open_tab,
    served_with,
    settle,
    too_wide,
)


def choose_another(page: Page, table: str) -> None:
    """Choose the first film of a table that is not the chosen one; it becomes the pair's film."""
    row = page.locator(f"{table} tr[data-pick]:not(.ckf-selected)").first
    item = row.get_attribute("data-pick")
    name = row.locator(".ckf-pick").inner_text().splitlines()[0]
    row.locator(".ckf-pick").click()
    expect_field(page, "item", item)
    expect(page.locator("#pair .ckf-what strong")).to_have_text(name)


def walk_topk(page: Page) -> None:
    open_tab(page, "Top-K")
    expect_field(page, "tab", "topk")
    rows = page.locator("#topk tr[data-pick]")
    expect(rows).to_have_count(10)
    choose_another(page, "#topk")
    expect(page.locator("#topk tr.ckf-selected")).to_have_count(1)
    expect(page.locator("#stop-topk")).to_be_disabled()
    expect(page.locator("#explanation-topk .ckf-time")).to_contain_text("in all")


def walk_map(page: Page) -> None:
    open_tab(page, "Map")
    maps = page.locator("#maps .ckf-map .main-svg:first-of-type")
    expect(maps).to_have_count(3)
    for place in range(3):
        box = maps.nth(place).bounding_box()
        assert box["width"] > 150 and box["height"] > 200
    points = page.evaluate(
        "document.querySelector('#maps .ckf-map').data.reduce((n, trace) => n + trace.x.length, 0)"
    )
    assert points >= 40
    expect(page.locator("#neighbours table")).to_have_count(3)
    before = page.locator("#neighbours h3").inner_text()
    choose_another(page, "#neighbours")
    expect(page.locator("#neighbours h3")).not_to_have_text(before)


def walk_card(page: Page) -> None:
    open_tab(page, "Model card")
    expect(page.locator("#statistics table")).to_be_visible()
    page.get_by_role("button", name="Manifest").click()
    expect(page.locator("#manifest table")).to_be_visible()


@served_with(REAL, LONG_FAKE)
def test_a_known_user_through_all_tabs(address, new_page):
    page = new_page(address)
    # The page that one lands on is answered already.
    expect_answers(page)
    assert "cold start" in page.locator("#pair").inner_text()

    # Who: filter, sort, choose; the row's own id counts, wherever the row has moved.
    everybody = page.locator("#users caption").inner_text()
    page.locator("#user-group").get_by_label("more than 10").check()
    # The table of everybody would take the click on its heading, and be replaced.
    expect(page.locator("#users caption")).not_to_have_text(everybody)
    users = page.locator("#users tr[data-pick]")
    page.locator("#users .ckf-sort", has_text="Ratings").click()
    expect(page.locator("#users th[aria-sort=ascending]")).to_have_text("Ratings")
    fewest = [int(text) for text in page.locator("#users td:nth-child(2)").all_inner_texts()]
    assert fewest == sorted(fewest) and fewest[0] > 10
    user = users.first.get_attribute("data-pick")
    users.first.locator(".ckf-pick").click()
    expect(page.locator("#pair .ckf-who strong")).to_have_text(f"User {user}")
    expect_field(page, "user", user)
    expect_answers(page)

    # What: a film of the history, found films; figures and prompt in their folds.
    choose_another(page, "#history")
    expect_answers(page)
    page.get_by_role("button", name="Choose another film").click()
    page.get_by_label("Find a film").press_sequentially("a")
    expect(page.locator("#films-found tr[data-pick]").first).to_be_visible()
    choose_another(page, "#films-found")
    expect_answers(page)
    page.get_by_role("button", name="Figures as tables").click()
    expect(page.locator("#figures table")).to_have_count(2)
    page.get_by_role("button", name="The prompt as the model got it").click()
    expect(page.locator("#prompt .ckf-user_token").first).to_be_visible()
    expect(page.locator("#prompt .ckf-item_token").first).to_be_visible()
    before = page.locator("#prompt pre").inner_text()
    page.locator("#prompt-task").get_by_label("Click").check()
    expect(page.locator("#prompt pre")).not_to_have_text(before)

    walk_topk(page)
    walk_map(page)
    walk_card(page)

    # The address brings the same view to somebody else.
    film, url = film_of(page), page.url
    other = new_page(url)
    expect(other.locator("#pair .ckf-who strong")).to_have_text(f"User {user}")
    assert film_of(other) == film
    expect(other.locator("#statistics table")).to_be_visible()


@served_with(LONG_REAL, FAKE)
def test_a_new_person_through_all_tabs(address, new_page):
    page = new_page(address)
    page.locator("#try").click()
    page.locator("#use").click()
    expect(page.locator("#new-person-problem")).to_contain_text("Nobody is described yet")

    page.get_by_label("Find films and give them stars").press_sequentially("a")
    found = page.locator("#found-films li")
    expect(found.nth(1)).to_be_visible()
    items = []
    for place, stars in ((0, 5), (1, 2)):
        star = found.nth(place).locator(f"[data-rating='{stars}']")
        items.append(star.get_attribute("data-pick"))
        star.click()
        expect(page.locator("#rated-films li")).to_have_count(place + 1)
    page.locator(f"#rated-films [data-remove][data-pick='{items[1]}']").click()
    expect(page.locator("#rated-films li")).to_have_count(1)
    page.get_by_label("What do you like, in a sentence?").fill("quiet crime films & more")
    page.locator("#use").click()
    expect(page.locator("#pair .ckf-who strong")).to_have_text("New person")
    expect_field(page, "rated", f"{items[0]}:5")
    assert fields(page)["taste"] == "quiet crime films & more"
    assert "user" not in fields(page)
    expect_answers(page)
    expect(page.locator("#history tr[data-pick]")).to_have_count(1)

    walk_topk(page)
    assert "Later rated" not in page.locator("#topk th").all_inner_texts()
    walk_map(page)
    walk_card(page)

    other = new_page(page.url)
    expect(other.locator("#pair .ckf-who strong")).to_have_text("New person")
    expect(other.locator("#history tr[data-pick]")).to_have_count(1)


def test_on_a_phone_the_drawer_stays_with_what_is_wrong_in_it(fake_address, new_page):
    page = new_page(fake_address, width=375)
    page.locator(".sidebar .toggle-button").click()
    page.get_by_role("tab", name="New person").click()
    page.locator("#use").click()
    expect(page.locator("#new-person-problem")).to_contain_text("Nobody is described yet")
    # what would have closed it comes after the message
    settle(page)
    expect(page.locator("#new-person-problem")).to_be_in_viewport()
    page.get_by_label("What do you like, in a sentence?").fill("quiet crime films")
    page.locator("#use").click()
    expect(page.locator(".sidebar.open")).to_have_count(0)
    expect(page.locator("#pair .ckf-who strong")).to_have_text("New person")


def test_evidence_leads_to_its_history_row(fake_address, new_page):
    page = new_page(fake_address)
    link = page.locator("#explanation-predict a[data-jump]").first
    anchor = link.get_attribute("data-jump")
    link.click()
    expect(page.locator(f"#{anchor}")).to_have_class(re.compile("ckf-flash"))
    expect(page.locator(f"#{anchor} .ckf-pick")).to_be_focused()


def test_stop_ends_an_explanation(slow_address, new_page):
    page = new_page(slow_address)
    page.locator("#again-predict").click()
    words = page.locator("#explanation-predict p[aria-live]")
    expect(page.locator("#stop-predict")).to_be_enabled()
    expect(words).to_have_text(re.compile(r"\S"))
    page.locator("#stop-predict").click()
    expect(page.locator("#stop-predict")).to_be_disabled()
    text = words.inner_text()
    settle(page)
    assert words.inner_text() == text


def test_another_pair_ends_the_explanation_before_it(slow_address, new_page):
    page = new_page(slow_address)
    page.locator("#example-2").click()
    expect(page.locator("#stop-predict")).to_be_enabled()
    page.locator("#example-3").click()
    expect(page.locator("#pair .ckf-who strong")).to_have_text("New person")
    expect(page.locator("#history tr[data-pick]")).to_have_count(3)
    expect(page.locator("#explanation-predict p[aria-live]")).to_have_text(re.compile(r"\S"))
    # it names a film of the new person
    settle(page)
    anchor = page.locator("#explanation-predict a[data-jump]").first.get_attribute("data-jump")
    expect(page.locator(f"#history #{anchor}")).to_be_visible()


def test_what_is_chosen_before_the_address_is_read_stays(fake_address, new_page, monkeypatch):
    chosen = threading.Event()

    def slowly(*given):
        chosen.wait(PATIENCE / 1000)
        return from_query(*given)

    monkeypatch.setattr(app, "from_query", slowly)
    page = new_page(fake_address)
    open_tab(page, "Data")
    page.locator("#try").click()
    page.get_by_label("What do you like, in a sentence?").fill("quiet films")
    chosen.set()
    settle(page)
    expect(page.locator("#tabs").get_by_role("tab", name="Data", exact=True)).to_have_attribute(
        "aria-selected", "true"
    )
    expect(page.get_by_label("What do you like, in a sentence?")).to_have_value("quiet films")


@pytest.mark.parametrize("theme", [pytest.param("light", marks=pytest.mark.long), "dark"])
def test_a_phone_shows_every_tab_without_sideways_scrolling(fake_address, new_page, theme):
    page = new_page(f"{fake_address}?__theme={theme}", width=375, height=812)
    expect(page.locator(".sidebar.open")).to_have_count(0)
    for tab in LABELS.values():
        open_tab(page, tab)
        settle(page)
        excess = too_wide(page)
        assert excess <= 0, f"{tab} is {excess} px too wide"
        # the chosen words of lists are whole and beside their arrows
        cut = page.evaluate(
            """() => [...document.querySelectorAll('#tabs input[role=combobox]')]
                .filter((e) => e.offsetParent && (e.scrollWidth > e.clientWidth
                    || parseFloat(getComputedStyle(e).paddingRight) < 14))
                .map((e) => e.ariaLabel)"""
        )
        assert cut == []
    page.locator(".sidebar .toggle-button").click()
    expect(page.locator(".sidebar.open")).to_have_count(1)
    page.locator("#example-2").click()
    expect(page.locator(".sidebar.open")).to_have_count(0)


def test_a_narrow_table_gives_way_and_what_is_still_wider_scrolls_alone(fake_address, new_page):
    page = new_page(f"{fake_address}?tab=topk", width=375, height=812)
    table = page.locator("#topk .ckf-scroll")
    expect(table.locator("tbody tr")).to_have_count(10)
    expect(table.locator(".ckf-score").first).to_be_hidden()
    edge = table.bounding_box()["x"] + table.bounding_box()["width"]
    for name in ("Score", "Collaborative rank"):
        box = table.get_by_role("columnheader", name=name).bounding_box()
        assert box["x"] + box["width"] <= edge + 1
    caption = table.locator("caption").bounding_box()
    assert caption["x"] + caption["width"] <= edge + 1

    # a shadow lies at the edge behind which there is more, and nowhere else
    sizes = "(e) => getComputedStyle(e).backgroundSize"
    assert table.evaluate(sizes) == "0px 100%, 14px 100%"
    table.evaluate("(e) => { e.scrollLeft = e.scrollWidth; }")
    expect(table).to_have_css("background-size", "14px 100%, 0px 100%")
    expect(page.locator("#users .ckf-scroll")).to_have_css("background-size", "0px 100%, 0px 100%")

    # the model card's words and figures are whole, in tables that scroll by themselves
    open_tab(page, "Model card")
    page.evaluate(
        """() => {
            const cells = '<td>gradient boosting</td>' + '<td>1.140 ± 0.054</td>'.repeat(8);
            document.querySelector('#model-card .prose').insertAdjacentHTML(
                'beforeend', `<table id="wide"><tbody><tr>${cells}</tr></tbody></table>`);
        }"""
    )
    wide = page.locator("#wide")
    assert wide.bounding_box()["height"] < 100
    assert wide.evaluate("(e) => e.scrollWidth > e.clientWidth")
    assert too_wide(page) <= 0


def test_a_table_stays_sorted_when_its_rows_change(fake_address, new_page):
    page = new_page(fake_address)
    ages = page.locator("#users td:nth-child(3)")
    page.locator("#users .ckf-sort", has_text="Age").click()
    everybody = page.locator("#users caption").inner_text()
    page.locator("#user-group").get_by_label("more than 10").check()
    expect(page.locator("#users caption")).not_to_have_text(everybody)
    expect(page.locator("#users th[aria-sort=ascending]")).to_have_text("Age")
    known = [int(text) for text in ages.all_inner_texts() if text]
    assert known == sorted(known) and len(set(known)) > 1


def test_every_control_has_a_name(fake_address, new_page):
    page = new_page(fake_address)
    for tab in LABELS.values():
        open_tab(page, tab)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('button, input, textarea, select, a')]
                .filter((e) => e.offsetParent && e.type !== 'hidden')
                .filter((e) => !(e.innerText?.trim() || e.getAttribute('aria-label')
                    || e.getAttribute('title') || e.labels?.length || e.placeholder))
                .map((e) => e.outerHTML.slice(0, 160))"""
        )
        assert nameless == []
