"""Pictures of every tab of a served page, to be looked at, and small ones for the documentation.

export PYTHONPATH=tests
python tests/browser/screenshots.py http://127.0.0.1:7860 --out screens --views data-result
python tests/browser/screenshots.py http://127.0.0.1:7860 --docs docs/screens
"""

import argparse
from io import BytesIO
from itertools import product
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from ckf_demo.ui.app import LABELS
from support.chromium import ARGUMENTS, CHROMIUM, PATIENCE
from support.pages import open_tab

WIDTHS = {375: 812, 768: 1024, 1440: 900}
THEMES = ("light", "dark")
# Of a documentation's picture: its size in pixels, and what it may weigh.
DOCS_SIZE = (1280, 960)
DOCS_BYTES = 150_000
# What a tab that asks the model shows once it is answered.
ANSWERED = {
    "topk": "#topk tbody tr",
    "why": "#why-later table",
    "compare": "#compare .ckf-facts:has-text('remembered')",
    "cold": "#replay-status:has-text('Everything')",
    "map": "#neighbours tbody tr",
}
# Another view of a tab, by the name of its picture: what is clicked for it in turn, and what it
# shows once it is answered.
VIEWS = {
    "compare-list": (
        "compare",
        ["#compare-mode label:has-text('Top list')"],
        "#compare table:has-text('Agreement')",
    ),
    "cold-people": (
        "cold",
        ["#cold-tabs [role=tab]:has-text('Groups of people')", "#cohorts-run"],
        "#cohorts-result tbody tr",
    ),
    "cold-films": (
        "cold",
        ["#cold-tabs [role=tab]:has-text('Films with few ratings')", "#items-run"],
        "#items-result tbody tr",
    ),
    "data-result": ("data", ["#data-run"], "#data-result tbody tr"),
}
# Milliseconds that all answers of a tab may take.
ANSWERS = 300_000


def opened(browser: Browser, address: str, theme: str, size: tuple[int, int]) -> Page:
    """The page of a visitor who has seen the tour."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.set_default_timeout(PATIENCE)
    page.add_init_script("localStorage.setItem('ckf-toured', 'seen')")
    page.goto(f"{address}?__theme={theme}")
    page.wait_for_selector("body[data-ckf=ready]")
    return page


def show(page: Page, tab: str) -> None:
    """Open a tab and wait for its answers."""
    open_tab(page, LABELS[tab])
    page.wait_for_timeout(1000)
    if tab in ANSWERED:
        page.wait_for_selector(ANSWERED[tab], timeout=ANSWERS)
    settle(page)


def ask(page: Page, view: str) -> None:
    """Open another view of a tab and wait for its answer."""
    tab, clicks, answer = VIEWS[view]
    show(page, tab)
    for selector in clicks:
        page.locator(selector).click()
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
    page.screenshot(path=folder / f"{name}-{width}-{theme}.png", full_page=True)
    excess = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    if excess > 0:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("--out", type=Path, help="folder for every tab, width and theme")
    parser.add_argument(
        "--views",
        nargs="*",
        default=(),
        choices=VIEWS,
        help="in --out, also what comes after a click; groups take a minute each",
    )
    parser.add_argument("--docs", type=Path, help="folder for one small picture of each tab")
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        if given.out:
            given.out.mkdir(parents=True, exist_ok=True)
            for theme, size in product(THEMES, WIDTHS.items()):
                page = opened(browser, given.address, theme, size)
                for tab in LABELS:
                    show(page, tab)
                    keep(page, given.out, tab, theme)
                for view in given.views:
                    ask(page, view)
                    keep(page, given.out, view, theme)
                page.close()
        if given.docs:
            given.docs.mkdir(parents=True, exist_ok=True)
            page = opened(browser, given.address, "light", DOCS_SIZE)
            for tab in LABELS:
                show(page, tab)
                (given.docs / f"{tab}.png").write_bytes(small(page.screenshot()))
        browser.close()


if __name__ == "__main__":
    main()
