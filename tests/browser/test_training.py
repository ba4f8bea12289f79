"""A training in the background, watched and stopped on the page in Chromium."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from ckf_demo.training.improving import DONE, RUNNING, STOPPED, Progress
from ckf_demo.ui import training as panel
from ckf_demo.ui.app import build, launch
from support.fakes import FakeRecommender
from support.pages import violations


class Training:
    """In the place of a process: a step whenever the page looks."""

    def __init__(self) -> None:
        self.now, self.can_stop = Progress(RUNNING, 0, 40, 0, 30), True

    @property
    def progress(self) -> Progress:
        if self.can_stop and self.now.step < 39:
            self.now = replace(self.now, step=self.now.step + 1)
        return self.now

    def stop(self) -> None:
        self.can_stop, self.now = False, replace(self.now, state=STOPPED)

    def go_on(self) -> None:
        self.can_stop, self.now = True, replace(self.now, state=RUNNING)


@pytest.fixture
def training() -> Training:
    return Training()


@pytest.fixture
def url(training, tmp_path, monkeypatch) -> Iterator[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(panel, "EVERY", 0.3)
    demo = build(FakeRecommender(), training=training)
    launch(demo)
    yield demo.local_url
    demo.close()


def test_a_training_is_watched_stopped_and_gone_on_with(url, new_page, training):
    page = new_page(url)
    page.wait_for_selector("body[data-ckf=ready]")
    line, stop, go_on = (page.locator(f"#training{end}") for end in ("", "-stop", "-go-on"))
    expect(line).to_contain_text("of 40, 0 of 30 minutes")
    expect(go_on).to_be_disabled()
    assert not [each for each in violations(page) if "training" in each]
    stop.click()
    expect(line).to_contain_text("Training is stopped: step")
    expect(stop).to_be_disabled()
    assert not training.can_stop
    go_on.click()
    expect(line).to_contain_text("Training: step")
    assert training.can_stop
    # the page goes on answering meanwhile
    page.get_by_role("tab", name="Top-K").click()
    expect(page.locator("#topk .ckf-pick").first).to_be_visible()
    training.can_stop, training.now = False, Progress(DONE, 40, 40, 30, 30)
    expect(line).to_have_text("Trained for 30 minutes (40 steps).")
    expect(stop).to_be_disabled()
    expect(go_on).to_be_disabled()
