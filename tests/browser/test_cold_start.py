"""The Cold start tab in Chromium: a replay with its slider, picks that change it, and a measurement
that is run, stopped and downloaded; against the fake recommender, and against the checkpoint."""

import re

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from support.pages import FAKE, REAL, expect_field, expect_toast, open_tab, served_with, too_wide

pytestmark = pytest.mark.long


# A film of each data set that its user rated late.
PEOPLE = {"fake": ("8", "11"), "real": ("405", "50")}


def expect_replayed(page: Page) -> None:
    expect(page.locator("#replay-status")).to_contain_text("Everything is answered")


def open_group(page: Page, name: str) -> None:
    page.locator("#cold-tabs").get_by_role("tab", name=name).click()


@served_with(REAL, FAKE)
def test_a_user_is_replayed_and_the_slider_moves_through_it(address, request, new_page):
    user, item = PEOPLE[request.node.callspec.params["address"]]
    page = new_page(f"{address}?tab=cold&user={user}&item={item}&k=3")
    expect(page.locator("#replay .ckf-lines .main-svg").first).to_be_visible()
    expect_replayed(page)
    lines = page.locator("#replay .ckf-lines")
    expect(lines).to_have_count(3)  # the prediction, its error, the bridge
    expect(lines.first.locator(".scatterlayer .trace")).to_have_count(3)
    expect(page.locator("#replay-after h3")).to_contain_text("after the first 3 ratings")
    rows = page.locator("#replay tr[id^='replay-']")
    expect(rows).to_have_count(11)
    expect(page.locator("#replay tr#replay-3 .ckf-pick")).not_to_be_empty()

    number = page.locator("#cold-k input[type=number]")
    number.fill("7")
    number.press("Enter")
    expect_field(page, "k", "7")
    expect(page.locator("#replay-after h3")).to_contain_text("after the first 7 ratings")
    expect(page.locator("#replay tr.ckf-selected")).to_have_id("replay-7")

    page.locator("#cold-question").get_by_label("Likes it").check()
    expect(page.locator("#replay")).to_contain_text("Log loss")
    # a film of the table becomes the film of the page
    row = page.locator("#replay tr#replay-2")
    picked = row.get_attribute("data-pick")
    row.locator(".ckf-pick").click()
    expect_field(page, "item", picked)
    expect(page.locator("#replay")).to_contain_text("the lines end there")


def test_a_broken_k_is_a_message(fake_address, new_page):
    page = new_page(f"{fake_address}?tab=cold&k=<b>x</b>")
    expect_toast(page, "no number from 0 to 40")
    expect_replayed(page)


@served_with(REAL, FAKE)
def test_a_changed_pick_changes_the_answers_at_once(address, new_page):
    page = new_page(f"{address}?tab=cold")
    page.locator("#example-3").click()
    expect(page.locator("#pair .ckf-who strong")).to_have_text("New person")
    expect(page.locator("#replay")).to_contain_text("3 picks of the person")
    expect_replayed(page)
    page.get_by_role("tab", name="New person").click()
    films = page.locator("#rated-films li")
    expect(films).to_have_count(3)
    item = films.nth(1).locator("[data-rating='1']").get_attribute("data-pick")
    films.nth(1).locator("[data-rating='1']").click()
    page.wait_for_function(
        "(entry) => new URL(location.href).searchParams.get('rated').split(',').includes(entry)",
        arg=f"{item}:1",
    )
    expect(page.locator("#replay tr#replay-2")).to_contain_text("1 ★")
    open_tab(page, "Predict")
    expect(page.locator("#rating .ckf-figure strong")).to_have_text(re.compile(r"^[1-5]\.\d\d$"))
    films.nth(2).locator("[data-remove]").click()
    expect(page.locator("#history tr[data-pick]")).to_have_count(2)


def test_groups_are_measured_and_results_are_files(fake_address, new_page, tmp_path):
    page = new_page(f"{fake_address}?tab=cold", width=375)
    open_group(page, "Groups of people")
    page.locator("#cohorts-run").click()
    expect(page.locator("#cohorts-progress")).to_contain_text("answers in")
    expect(page.locator("#cohorts-result .ckf-lines .main-svg").first).to_be_visible()
    rows = page.locator("#cohorts-result tbody tr")
    expect(rows).to_have_count(20)  # two groups, two methods, five k
    frames = []
    for kind, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        with page.expect_download() as download:
            page.locator(f"#cohorts-{kind}").click()
        path = tmp_path / f"rows.{kind}"
        download.value.save_as(path)
        frames.append(read(path))
    assert len(frames[0]) == len(frames[1]) and set(frames[0]["group"]) >= {"k=0", "k=all"}
    assert too_wide(page) <= 0

    page.locator("#cohorts-two input").uncheck()
    expect(page.locator("#cohort-B-ratings")).to_be_hidden()
    page.get_by_role("button", name="A by your own SQL").click()
    page.locator("#cohort-A-sql textarea").fill("SELECT age, gender FROM users")
    page.locator("#cohorts-run").click()
    expect(page.locator("#cohorts-progress")).to_contain_text("2 columns")

    open_group(page, "Films with few ratings")
    page.locator("#items-run").click()
    expect(page.locator("#items-progress")).to_contain_text("answers in")
    expect(page.locator("#items-result")).to_contain_text("training ratings: ")
    expect(page.locator("#items-result .ckf-lines .main-svg").first).to_be_visible()


@pytest.mark.parametrize("kind", [pytest.param("real", marks=pytest.mark.real), "slow"])
def test_a_measurement_shows_how_far_it_is_and_is_stopped(kind, request, new_page):
    url = request.getfixturevalue(f"{kind}_address")
    page = new_page(f"{url}?tab=cold")
    open_group(page, "Groups of people")
    page.locator("#cohorts-run").click()
    expect(page.locator("#cohorts-progress progress")).to_be_visible()
    expect(page.locator("#cohorts-stop")).to_be_enabled()
    page.locator("#cohorts-stop").click()
    expect(page.locator("#cohorts-progress")).to_contain_text("Stopped after")
    expect(page.locator("#cohorts-stop")).to_be_disabled()
