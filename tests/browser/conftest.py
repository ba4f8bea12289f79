"""Pages served by a fake or the real model, and the browser that opens them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from support.chromium import ARGUMENTS, CHROMIUM, PATIENCE
from support.fakes import FakeRecommender, catalogue_with_facts
from support.pages import serve, watch


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def fake_cache(tmp_path_factory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def fake_address(fake_cache) -> Iterator[str]:
    yield from serve(FakeRecommender(word_seconds=0.01))


@pytest.fixture(scope="module")
def facts_address(fake_cache) -> Iterator[str]:
    yield from serve(FakeRecommender(data=catalogue_with_facts()))


@pytest.fixture(scope="module")
def slow_address(fake_cache, tmp_path_factory) -> Iterator[str]:
    # a checkpoint of its own, so that nothing of it is remembered from the quick one
    folder = tmp_path_factory.mktemp("slow")
    (folder / "weights").write_text("slow")
    yield from serve(FakeRecommender(word_seconds=0.5, checkpoint=folder))


@pytest.fixture(scope="module")
def real_address(recommender, real_cache) -> Iterator[str]:
    with real_cache():
        served = serve(recommender)
        address = next(served)
    yield address
    served.close()


@pytest.fixture
def address(request) -> str:
    """The page of the model that `support.pages.served_with` names."""
    return request.getfixturevalue(f"{request.param}_address")


@pytest.fixture
def problems() -> list[str]:
    """The errors that the pages of `new_page` have reported."""
    return []


@pytest.fixture
def new_page(browser, tmp_path, request, problems) -> Iterator[Callable[..., Page]]:
    """Opens pages that must not report an error; a picture of each is kept at the end."""
    opened: list[Page] = []

    def open_page(url: str, width: int = 1280, height: int = 900) -> Page:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(PATIENCE)
        watch(page)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda message: problems.append(message.text) if message.type == "error" else None,
        )
        opened.append(page)
        page.goto(url)
        expect(page.locator("#pair strong").first).to_be_visible()
        # Events that Gradio has not bound yet would be lost.
        page.wait_for_selector("body[data-ckf=ready]")
        return page

    yield open_page
    for number, page in enumerate(opened):
        page.screenshot(path=tmp_path / f"{request.node.name}-{number}.png".replace("/", "-"))
        page.close()
    assert problems == []
