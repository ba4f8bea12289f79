"""Pictures of every tab of a served page, to be looked at, and small ones for the documentation.

export PYTHONPATH=tests
python tests/browser/screenshots.py http://127.0.0.1:7860 --out screens
python tests/browser/screenshots.py http://127.0.0.1:7860 --docs docs/screens
"""

from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from ckf_demo.ui.app import LABELS
from support.chromium import ARGUMENTS, CHROMIUM, PATIENCE
from support.pages import open_tab, too_wide

WIDTHS = {375: 812, 768: 1024, 1440: 900}
THEMES = ("light", "dark")
# Of a documentation's picture: its size in pixels, and what it may weigh.
DOCS_SIZE = (1280, 960)
DOCS_BYTES = 150_000
# What a tab, or another view of it, shows once it is answered, and what is clicked in turn before.
VIEWS = {
    "topk": ("#topk tbody tr",),
    "why": ("#why-later table",),
    "compare": ("#compare .ckf-facts:has-text('remembered')",),
    "compare-list": (
        "#compare table:has-text('Agreement')",
        "#compare-mode label:has-text('Top list')",
    ),
    "cold": ("#replay-status:has-text('Everything')",),
    "cold-everybody": (
        "#everybody .js-plotly-plot",
        "#cold-tabs [role=tab]:has-text('Everybody')",
    ),
    "cold-people": (
        "#cohorts-result tbody tr",
        "#cold-tabs [role=tab]:has-text('Groups of people')",
        "#cohorts-run",
    ),
    "cold-films": (
        "#items-result tbody tr",
        "#cold-tabs [role=tab]:has-text('Films with few ratings')",
        "#items-run",
    ),
    "map": ("#neighbours tbody tr",),
    "data-result": ("#data-result tbody tr", "#data-run"),
}
ANSWERS = 300_000
"""Milliseconds that all answers of a tab may take."""


def opened(browser: Browser, address: str, theme: str, size: tuple[int, int]) -> Page:
    """The page of a visitor who has seen the tour."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.set_default_timeout(PATIENCE)
    page.add_init_script("localStorage.setItem('ckf-toured', 'seen')")
    page.goto(f"{address}?__theme={theme}")
    page.wait_for_selector("body[data-ckf=ready]")
    return page


def show(page: Page, view: str) -> None:
    """Open a tab, or another view of it, and wait for its answers."""
    open_tab(page, LABELS[view.partition("-")[0]])
    page.wait_for_timeout(1000)
    answer, *clicks = VIEWS.get(view, (None,))
    for selector in clicks:
        page.locator(selector).click()
    if answer:
        page.wait_for_selector(answer, timeout=ANSWERS)
    settle(page)


def settle(page: Page) -> None:
    """Wait until nothing that is seen is counting its seconds."""
    page.wait_for_function(
        "![...document.querySelectorAll('[data-testid=status-tracker] .meta-text,"
        " [data-testid=status-tracker] .meta-text-center')].some((e) => e.offsetParent)",
        timeout=ANSWERS,
    )
    page.wait_for_timeout(1500)


def keep(page: Page, folder: Path, name: str, theme: str) -> None:
    """The whole page as a picture; what is wider than the screen is told."""
    width = page.viewport_size["width"]
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}-{width}-{theme}.png", full_page=True)
    if (excess := too_wide(page)) > 0:
        print(f"{name} at {width} px, {theme}: {excess} px too wide")


def small(picture: bytes) -> bytes:
    """The picture with as many colours as its allowed weight permits."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    for colours in (256, 128, 64, 32):
        target = BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(target, "PNG", optimize=True)
        if target.tell() <= DOCS_BYTES:
            break
    return target.getvalue()


def main(
    address: str,
    out: Annotated[Path | None, typer.Option(help="Folder for every view and width.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder for a small picture of a tab.")] = None,
) -> None:
    """Take pictures of a served page; groups of people take a minute each."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for theme, size in product(THEMES, WIDTHS.items()) if out else ():
            page = opened(browser, address, theme, size)
            for view in dict.fromkeys([*LABELS, *VIEWS]):
                show(page, view)
                keep(page, out, view, theme)
            page.close()
        if docs:
            page = opened(browser, address, "light", DOCS_SIZE)
            docs.mkdir(parents=True, exist_ok=True)
            for tab in LABELS:
                show(page, tab)
                (docs / f"{tab}.png").write_bytes(small(page.screenshot()))
            show(page, "cold-everybody")
            figure = page.locator("#everybody section").first.screenshot()
            (docs / "cold-everybody.png").write_bytes(small(figure))
        browser.close()


if __name__ == "__main__":
    typer.run(main)
