"""The Results tab in Chromium: its figures are those of the stored results, its plots have their
size, and a chosen error becomes the page's pair."""

import json

import pytest
from playwright.sync_api import expect

from support.fakes import FakeRecommender
from support.pages import expect_field, open_tab, serve, too_wide
from support.paths import CHECKPOINT


@pytest.fixture(scope="module")
def stored() -> dict:
    """The committed results as those of the made-up data set, with two errors."""
    results = json.loads((CHECKPOINT / "results.json").read_text(encoding="utf-8"))
    error = {"task": "rating", "label": 1.0, "score": 4.3, "prior": 3.9}
    results["dataset"] = "made-up"
    results["errors"] = [error | {"user": "3", "item": "7"}, error | {"user": "8", "item": "9"}]
    return results


@pytest.fixture(scope="module")
def address(stored, fake_cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "made-up"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(stored), encoding="utf-8")
    yield from serve(FakeRecommender(checkpoint=folder))


def choose(page, control: str, option: str) -> None:
    page.locator(f"#results-{control} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def expect_own_value(page, stored: dict, task: str, metric: str, group: str) -> None:
    """The own method's row shows its value, interval and n of the stored results."""
    key = {"method": "ckf", "task": task, "metric": metric, "group": group}
    row = next(row for row in stored["rows"] if key.items() <= row.items())
    cells = page.locator("#measured section").first.locator("tr", has=page.locator("strong"))
    expect(cells.locator("td").nth(1)).to_contain_text(f"{row['value']:.3f}")
    expect(cells.locator("td").nth(1)).to_contain_text(f"[{row['low']:.3f}, {row['high']:.3f}]")
    expect(cells.locator("td").nth(2)).to_have_text(f"{row['n']:,}")


@pytest.mark.parametrize(
    ("theme", "width"), [pytest.param("light", 1280, marks=pytest.mark.long), ("dark", 375)]
)
def test_the_table_holds_the_stored_numbers_and_plots_fit(address, stored, new_page, theme, width):
    page = new_page(f"{address}?__theme={theme}", width=width)
    open_tab(page, "Results")
    expect_field(page, "tab", "results")
    expect_own_value(page, stored, "rating", "rmse", "all")
    plots = page.locator("#measured .ckf-dots")
    expect(plots.locator("> div > .plot-container")).to_have_count(4)
    methods = page.locator("#measured section").first.locator("tbody tr")
    expect(plots.first.locator(".point")).to_have_count(methods.count())
    for place in range(4):
        plot = plots.nth(place).locator(".main-svg").first.bounding_box()
        room = plots.nth(place).bounding_box()
        assert abs(plot["width"] - room["width"]) <= 1 and plot["height"] > 80

    choose(page, "task", "Click")
    choose(page, "metric", "UAUC")
    choose(page, "group", "cold: new after training")
    expect_own_value(page, stored, "ctr", "uauc", "cold")
    expect(plots.first.locator(".point")).to_have_count(methods.count())
    assert too_wide(page) <= 0

    page.locator("#measured .ckf-sort", has_text="Method").first.click()
    expect(page.locator("#measured th[aria-sort=ascending]")).to_have_text("Method")


def test_a_chosen_error_becomes_the_pair(address, new_page):
    page = new_page(f"{address}?tab=results")
    row = page.locator("#worst-errors tr[data-pick='user=8&item=9']")
    name = row.locator(".ckf-pick").inner_text()
    row.locator(".ckf-pick").click()
    expect_field(page, "user", "8")
    expect_field(page, "item", "9")
    expect(page.locator("#pair .ckf-what strong")).to_have_text(name)
    expect(page.locator("#worst-errors tr.ckf-selected")).to_have_attribute(
        "data-pick", "user=8&item=9"
    )
