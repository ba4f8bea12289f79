"""The Map tab in Chromium: points choose films and people, views change, files come."""

import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from support.pages import FAKE, REAL, expect_field, film_of, served_with, settle, too_wide
from support.waiting import wait_until

pytestmark = pytest.mark.long


def choose_view(page: Page, control: str, label: str) -> None:
    page.locator(f"#map-{control}").get_by_label(label, exact=True).check()


def expect_drawn(page: Page, space: str, kind: str) -> None:
    """The space's plot is of a kind ("scattergl", "scatter3d") and its points are all there."""
    page.wait_for_function(
        """([space, kind]) => {
            const plot = document.querySelector(`#maps [data-space=${space}] .ckf-map`);
            return plot?.data?.length && plot.data.every((trace) => trace.type === kind);
        }""",
        arg=[space, kind],
    )


def expect_recommended(page: Page) -> None:
    """The flat maps are drawn with the recommendations, which come last."""
    expect_drawn(page, "collaborative", "scattergl")
    page.wait_for_function(
        """() => document.querySelector('#maps [data-space=collaborative] .ckf-map')?.data
            ?.some((trace) => trace.name === 'recommended')"""
    )


def facts(page: Page, space: str):
    return page.locator(f"#maps [data-space={space}] .ckf-facts")


def place_of_a_point(page: Page, space: str) -> tuple[str, list[float]]:
    """A film of a flat plot that is not the chosen one, and where it is on the page."""
    return page.evaluate(
        """(space) => {
            const plot = document.querySelector(`#maps [data-space=${space}] .ckf-map`);
            plot.scrollIntoView({block: 'center'});
            const { xaxis, yaxis } = plot._fullLayout;
            const pixel = (trace, i) => [
                xaxis._offset + xaxis.d2p(trace.x[i]), yaxis._offset + yaxis.d2p(trace.y[i]),
            ];
            const marks = ['history', 'recommended', 'chosen film'];
            const marked = plot.data.filter((trace) => marks.includes(trace.name));
            const own = new Set(marked.flatMap((trace) => [...(trace.customdata ?? [])]));
            const all = plot.data.flatMap((trace) => [...trace.x].map((_, i) => ({
                item: trace.customdata?.[i], at: pixel(trace, i) })));
            // one that no other point covers
            const gap = ({ at }) => Math.min(...all.filter((other) => other.at !== at)
                .map((other) => Math.hypot(other.at[0] - at[0], other.at[1] - at[1])));
            const free = all.filter(({ item, at }) => item && !own.has(item)
                && at[0] > 30 && at[0] < plot.offsetWidth - 30
                && at[1] > 30 && at[1] < plot.offsetHeight - 30);
            const best = free.reduce((a, b) => (gap(a) > gap(b) ? a : b));
            const box = plot.getBoundingClientRect();
            return [best.item, [box.x + best.at[0], box.y + best.at[1]]];
        }""",
        space,
    )


def download(page: Page, space: str, action: str):
    with page.expect_download() as waiting:
        page.locator(f"#maps [data-space={space}] [data-map={action}]").click()
    return waiting.value


@served_with(REAL, FAKE)
def test_a_point_becomes_the_film_and_the_picture_a_page(address, new_page):
    page = new_page(f"{address}?tab=map")
    expect_recommended(page)
    before = film_of(page)
    item, place = place_of_a_point(page, "collaborative")
    page.mouse.move(place[0] - 3, place[1], steps=3)
    page.mouse.move(*place, steps=3)
    # found in the two other maps, under its own name
    links = page.locator("#maps .ckf-link:not([hidden])")
    expect(links).to_have_count(2)
    name = links.first.locator("b").inner_text()
    page.mouse.click(*place)
    expect(page.locator("#pair .ckf-what strong")).not_to_have_text(before)
    assert film_of(page) == name
    expect_field(page, "item", item)
    expect(page.locator("#neighbours h3")).to_contain_text(name)

    choose_view(page, "method", "UMAP")
    choose_view(page, "dimensions", "3-D")
    expect(facts(page, "text")).to_contain_text("UMAP; trustworthiness")
    expect_drawn(page, "text", "scatter3d")

    saved = download(page, "text", "html")
    assert saved.suggested_filename.startswith("map-text-umap-3d-")
    text = saved.path().read_text(encoding="utf-8")
    drawn, title = page.evaluate(
        """() => {
            const [trace] = document.querySelector('#maps [data-space=text] .ckf-map').data;
            return [trace.z.slice(0, 5), trace.text[0]];
        }"""
    )
    assert all(value in text for value in page.evaluate("(z) => z.map(String)", drawn))
    assert title.replace("<", "\\u003c") in text
    assert "http" not in re.sub(r"<script>.*?</script>", "", text, count=1, flags=re.DOTALL)
    # it shows the points without the app
    alone = page.context.browser.new_page()
    alone.set_content(text)
    alone.wait_for_function("document.querySelector('#map').data?.[0]?.type === 'scatter3d'")
    shown = alone.evaluate("document.querySelector('#map').data[0].z.slice(0, 5)")
    assert np.allclose(shown, drawn)
    alone.close()

    picture = download(page, "collaborative", "png")
    assert picture.path().read_bytes().startswith(b"\x89PNG")


def test_rows_of_the_neighbours_are_found_in_the_maps(fake_address, new_page):
    page = new_page(f"{fake_address}?tab=map&user=3&item=7")
    expect_recommended(page)
    row = page.locator("#neighbours tr[data-pick]").first
    row.locator(".ckf-pick").focus()
    expect(page.locator("#maps .ckf-link:not([hidden])")).to_have_count(3)
    name = row.locator(".ckf-pick").inner_text()
    assert page.locator("#maps .ckf-link:not([hidden]) b").all_inner_texts() == [name] * 3
    row.locator(".ckf-pick").press("Enter")
    expect_field(page, "item", row.get_attribute("data-pick"))


def test_people_are_shown_and_chosen(fake_address, new_page):
    page = new_page(f"{fake_address}?tab=map&user=3&item=7")
    expect_drawn(page, "llm", "scattergl")
    choose_view(page, "kind", "People")
    expect(page.locator("#people-alike table")).to_have_count(2)
    expect(page.locator("#maps figure:visible")).to_have_count(2)
    row = page.locator("#people-alike tr[data-pick]").first
    user = row.get_attribute("data-pick")
    row.locator(".ckf-pick").click()
    expect_field(page, "user", user)
    expect(page.locator("#pair .ckf-who strong")).to_have_text(f"User {user}")
    assert "item=7" in page.url
    # the rows follow the person
    expect(page.locator(f"#people-alike tr[data-pick='{user}']")).to_have_count(0)
    # the maps are drawn again for the person
    settle(page)
    item, place = place_of_a_point(page, "collaborative")
    page.mouse.move(place[0] - 3, place[1], steps=3)
    page.mouse.move(*place, steps=3)
    # found in the other map, so a click is about the point
    expect(page.locator("#maps .ckf-link:not([hidden])")).to_have_count(1)
    page.mouse.click(*place)
    expect_field(page, "user", item)


def test_views_change_back_and_forth_without_losing_a_plot(fake_address, new_page):
    page = new_page(f"{fake_address}?tab=map&user=3&item=7")
    warnings = []
    page.on("console", lambda message: warnings.append(message.text))
    for _ in range(4):
        choose_view(page, "dimensions", "3-D")
        expect_drawn(page, "text", "scatter3d")
        choose_view(page, "dimensions", "2-D")
        expect_drawn(page, "text", "scattergl")
    choose_view(page, "beside", "Before and after training")
    expect(page.locator("#maps figure:visible")).to_have_count(2)
    expect_drawn(page, "untrained", "scattergl")
    assert not [text for text in warnings if "WebGL context" in text]


@pytest.mark.parametrize("dimensions", ["2-D", "3-D"])
def test_buttons_zoom_and_the_plain_wheel_scrolls_the_page(fake_address, new_page, dimensions):
    page = new_page(f"{fake_address}?tab=map&user=3&item=7", height=600)
    choose_view(page, "dimensions", dimensions)
    expect_drawn(page, "text", "scattergl" if dimensions == "2-D" else "scatter3d")
    figure = page.locator("#maps [data-space=text]")
    extent = f"""() => {{
        const full = document.querySelector('#maps [data-space=text] .ckf-map')._fullLayout;
        if ('{dimensions}' === '2-D') return full.xaxis.range[1] - full.xaxis.range[0];
        const {{ x, y, z }} = full.scene._scene.getCamera().eye;
        return Math.hypot(x, y, z);
    }}"""

    def expect_extent(wanted: float) -> None:
        wait_until(lambda: page.evaluate(extent) == pytest.approx(wanted, rel=0.02))

    whole = page.evaluate(extent)
    figure.locator("[data-map=in]").press("Enter")
    expect_extent(whole / 1.5)
    figure.locator("[data-map=out]").click()
    expect_extent(whole)
    figure.locator(".ckf-map").scroll_into_view_if_needed()
    box = figure.locator(".ckf-map").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    top = page.evaluate("document.scrollingElement.scrollTop")
    page.mouse.wheel(0, -100)
    page.wait_for_function(f"document.scrollingElement.scrollTop < {top}")
    assert page.evaluate(extent) == pytest.approx(whole, rel=0.02)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    wait_until(lambda: page.evaluate(extent) < 0.99 * whole)
    page.keyboard.up("Control")
    figure.locator("[data-map=reset]").click()
    expect_extent(whole)


@pytest.mark.parametrize(("theme", "width"), [("dark", 375), ("light", 768), ("dark", 1440)])
def test_maps_fit_every_width(fake_address, new_page, theme, width):
    page = new_page(f"{fake_address}?tab=map&user=3&item=7&__theme={theme}", width=width)
    expect_drawn(page, "text", "scattergl")
    expect(page.locator("#map-trust table")).to_have_count(2)
    assert too_wide(page) <= 0
    for box in page.locator("#maps .ckf-map:visible").all():
        assert box.bounding_box()["width"] > 120


def test_a_browser_without_webgl_has_the_flat_maps(fake_address, browser):
    page = browser.new_page()
    page.add_init_script(
        """const before = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
            return kind.includes('webgl') ? null : before.call(this, kind, ...rest);
        };"""
    )
    page.goto(f"{fake_address}?tab=map&user=3&item=7")
    expect_drawn(page, "text", "scatter")
    assert page.locator("#maps [data-space=text] .point").count() >= 40
    choose_view(page, "dimensions", "3-D")
    expect(page.locator("#maps [data-space=text]")).to_contain_text("need WebGL")
    choose_view(page, "dimensions", "2-D")
    expect_drawn(page, "text", "scatter")
    page.close()
