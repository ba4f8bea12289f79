"""Helpers for tests of the page in Chromium: they serve it, open tabs and wait for answers."""

import re
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit
from weakref import WeakKeyDictionary

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from ckf_demo.recommender import Recommender
from ckf_demo.serving.method_comparison import MethodComparison
from ckf_demo.ui.app import build, launch
from support.chromium import PATIENCE

expect.set_options(timeout=PATIENCE)

# Values of the fixture ``address``.
FAKE = "fake"
FACTS = "facts"
LONG_FAKE = pytest.param("fake", marks=pytest.mark.long)
REAL = pytest.param("real", marks=pytest.mark.real)
LONG_REAL = pytest.param("real", marks=[pytest.mark.real, pytest.mark.long])


def served_with(*models) -> pytest.MarkDecorator:
    """Run a test once with each model's page."""
    return pytest.mark.parametrize("address", models, indirect=True)


def serve(recommender: Recommender, *comparison: MethodComparison) -> Iterator[str]:
    """The address of the recommender's page, which closes when the iterator does."""
    demo = build(recommender, *comparison)
    launch(demo)
    try:
        yield demo.local_url
    finally:
        demo.close()


LEFT_OPEN = 20.0
"""Seconds after which a request that still runs is a stream that the browser keeps open."""
_pending: WeakKeyDictionary[Page, dict] = WeakKeyDictionary()


# A passing message leaves after ten seconds, on a busy machine before the test looks for it.
KEEP_TOASTS = """
window.toasts = new Map();
new MutationObserver(() => {
  for (const toast of document.querySelectorAll("[data-testid=toast-body]")) {
    window.toasts.set(toast, toast.cloneNode(true));
  }
}).observe(document, {childList: true, subtree: true, characterData: true});
"""


def watch(page: Page) -> None:
    """Note the page's requests that are on their way, for `settle`, and its passing messages."""
    page.add_init_script(KEEP_TOASTS)
    pending = _pending.setdefault(page, {})
    page.on("request", lambda request: pending.setdefault(request, time.monotonic()))
    for event in ("requestfinished", "requestfailed"):
        page.on(event, lambda request: pending.pop(request, None))


def settle(page: Page) -> None:
    """Wait until the page, which `watch` has seen open, asks nothing more of its server.

    An answer may be followed by a further question, so the page has to be quiet for a while. Its
    heartbeat is a request that never ends.
    """
    quiet, end = 0, time.monotonic() + PATIENCE / 1000
    while quiet < 6:
        assert time.monotonic() < end, "the page never came to rest"
        page.wait_for_timeout(50)
        busy = any(
            "/heartbeat/" not in request.url and time.monotonic() - began < LEFT_OPEN
            for request, began in _pending[page].items()
        )
        quiet = 0 if busy else quiet + 1


def reload(page: Page, problems: list[str]) -> None:
    """Load the page again; what the old page's interrupted requests report is not counted."""
    assert problems == []
    page.reload()
    problems.clear()
    page.wait_for_selector("body[data-ckf=ready]")


def open_tab(page: Page, name: str) -> None:
    page.locator("#tabs").get_by_role("tab", name=name, exact=True).click()


def fields(page: Page) -> dict[str, str]:
    """The address's fields."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def expect_field(page: Page, name: str, value: str) -> None:
    """Wait until the address has a field's value."""
    page.wait_for_function(
        "([name, value]) => new URL(location.href).searchParams.get(name) === value",
        arg=[name, value],
        timeout=PATIENCE,
    )


def expect_toast(page: Page, said: str) -> None:
    """Wait until a passing message has said this, and see that it holds no markup of its own."""
    page.wait_for_function(
        "(said) => [...window.toasts.values()].some((toast) => toast.textContent.includes(said))",
        arg=said,
        timeout=PATIENCE,
    )
    plain = "[...window.toasts.values()].every((t) => !t.querySelector('img, script, b'))"
    assert page.evaluate(plain)


def expect_answers(page: Page) -> None:
    """Rating, click and a finished explanation are on the Predict tab."""
    expect(page.locator("#rating .ckf-figure strong")).to_have_text(re.compile(r"^[1-5]\.\d\d$"))
    expect(page.locator("#rating .ckf-bar")).to_have_count(5)
    expect(page.locator("#click .ckf-figure strong")).to_have_text(re.compile(r"^\d+ %$"))
    expect(page.locator("#click .ckf-legend li")).to_have_count(4)
    expect(page.locator("#explanation-predict .ckf-time")).to_contain_text("in all")
    page.click("#explanation-predict .ckf-rests summary")
    rests = page.locator("#explanation-predict .ckf-rests li")
    expect(rests.first.locator(".ckf-facts")).not_to_be_empty()
    expect(page.locator("#stop-predict")).to_be_disabled()
    words = page.locator("#explanation-predict p[aria-live]")
    expect(words).to_have_text(re.compile(r"\w.{9,}\w", re.DOTALL))


def film_of(page: Page) -> str:
    """The name of the pair's film."""
    return page.locator("#pair .ckf-what strong").inner_text()


def too_wide(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def violations(page: Page) -> list[str]:
    """Serious and critical violations that axe finds: rule, element, and what is wrong with it."""
    lines = []
    for rule in Axe().run(page).response["violations"]:
        if rule["impact"] not in ("serious", "critical"):
            continue
        for node in rule["nodes"]:
            lines.append(f"{rule['id']}: {node['target'][0]}\n    {node['html'][:200]}")
            lines += [f"    {check['message']}" for check in node["any"] + node["all"]][:2]
    return lines
