"""Links in Chromium: a view is copied as an address and found again by somebody else; moment and
method are chosen on the page; hostile links end in a message and the default."""

import os
import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from support.chromium import PATIENCE
from support.pages import (
    FAKE,
    LONG_REAL,
    expect_answers,
    expect_field,
    expect_toast,
    open_tab,
    reload,
    served_with,
    settle,
)
from support.paths import ROOT

# Read before a fixture gives the fake recommender a cache of its own.
ENVIRONMENT = dict(os.environ)


def elsewhere(browser, link: str):
    """A page of somebody who has never been here: no storage is shared."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(link)
    page.wait_for_selector("body[data-ckf=ready]")
    return page


def copied(page) -> str:
    """The link that the page's button copies."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("[data-copy-link]").click()
    expect(page.locator(".ckf-said")).to_have_text("Link copied")
    return page.evaluate("navigator.clipboard.readText()")


def shown(page) -> dict:
    """What tells one view from another."""
    return {
        "who": page.locator("#pair .ckf-who").inner_text(),
        "what": page.locator("#pair .ckf-what").inner_text(),
        # without the button, which says for a while that it has copied
        "when": page.locator("#pair .ckf-when").inner_text().partition("Copy link")[0],
        "rating": page.locator("#rating .ckf-figure strong").text_content(),
        "tab": page.locator("#tabs > .tab-wrapper [role=tab][aria-selected=true]").inner_text(),
    }


@served_with(LONG_REAL, FAKE)
def test_a_known_user_at_a_moment_by_a_method_is_found_again(address, browser, new_page):
    page = new_page(address)
    page.locator("#example-2").click()
    expect_answers(page)
    page.get_by_role("button", name="Choose moment and method").click()
    known = page.locator("#pair .ckf-who")
    before = known.inner_text()
    box = page.get_by_label("Moment (UTC)")
    moment = (
        "hours => new Date((new URL(location.href).searchParams.get('at') - hours * 3600) * 1000)"
        ".toISOString().slice(0, 19).replace('T', ' ')"
    )
    # the address follows the answers, and the field the pair: before it has, it would overwrite
    # what is typed
    page.wait_for_function("new URL(location.href).searchParams.has('at')", timeout=PATIENCE)
    expect(box).to_have_value(page.evaluate(moment, 0))
    day = page.evaluate(moment, 40)
    box.fill(day)
    box.press("Enter")
    expect(page.locator("#pair .ckf-when")).not_to_contain_text("(default)")
    expect(known).not_to_have_text(before)
    page.locator("#method").get_by_label("Without collaborative tokens").check()
    expect(page.locator("#pair .ckf-when")).to_contain_text("Answered by")
    expect_field(page, "method", "no-tokens")
    expect_answers(page)
    expect(page.locator("#rating .ckf-legend li").first).to_contain_text("Without collaborative")
    open_tab(page, "Top-K")
    expect_field(page, "tab", "topk")

    other = elsewhere(browser, copied(page))
    expect(other.locator("#pair .ckf-when")).to_contain_text("Answered by")
    expect(other.locator("#topk tr[data-pick]")).to_have_count(10)
    expect(other.locator("#rating .ckf-figure strong")).to_have_text(shown(page)["rating"])
    assert shown(other) == shown(page)
    picks, same = (each.locator("#topk .ckf-pick").all_inner_texts() for each in (page, other))
    assert picks == same
    other.get_by_role("button", name="Choose moment and method").click()
    expect(other.get_by_label("Moment (UTC)")).to_have_value(day)
    expect(other.locator("#method").get_by_label("Without collaborative tokens")).to_be_checked()

    # Back to the default, which the page says.
    other.locator("#moment-default").click()
    expect(other.locator("#pair .ckf-when")).to_contain_text("(default)")
    other.context.close()


def test_a_new_person_with_all_that_was_said_is_found_again(fake_address, browser, new_page):
    link = (
        f"{fake_address}?rated=4%3A5%2C9%3A1&taste=crime+%26+%E2%80%9Cpunishment%E2%80%9D%2C+100+%25"
        "&age=40&occupation=writer&item=7&tab=predict"
    )
    page = new_page(link)
    expect(page.locator("#pair .ckf-who strong")).to_have_text("New person")
    expect(page.locator("#pair .ckf-who")).to_contain_text("age 40, writer")
    expect(page.locator("#rated-films li")).to_have_count(2)
    expect(page.get_by_label("What do you like, in a sentence?")).to_have_value(
        "crime & “punishment”, 100 %"
    )
    page.get_by_role("button", name="Choose moment and method").click()
    expect(page.locator("#moment-default")).to_be_disabled()
    expect(page.locator("#moment-about")).to_contain_text("The moment is now")
    other = elsewhere(browser, copied(page))
    expect(other.locator("#pair .ckf-who strong")).to_have_text("New person")
    expect(other.locator("#rating .ckf-figure strong")).to_have_text(shown(page)["rating"])
    assert shown(other) == shown(page)
    other.context.close()


def test_the_landing_page_has_a_whole_link(fake_address, browser, new_page):
    page = new_page(fake_address)
    link = copied(page)
    assert "user=3" in link and "item=" in link and "at=" in link
    assert "__theme" not in link
    other = elsewhere(browser, link)
    expect(other.locator("#pair .ckf-pair")).to_be_visible()
    assert shown(other) == shown(page)
    other.context.close()


def test_a_choice_stays_when_the_page_is_loaded_again_at_once(fake_address, new_page, problems):
    page = new_page(fake_address)
    who, what = page.locator("#pair .ckf-who strong"), page.locator("#pair .ckf-what strong")
    page.locator("#example-2").click()
    expect(who).to_have_text(re.compile(r"User (?!3\b)"))
    chosen = ["New person", who.inner_text()]
    settle(page)
    for turn in range(8):
        page.locator(f"#example-{3 - turn % 2}").click()
        page.wait_for_timeout(200)
        reload(page, problems)
        expect(who).to_have_text(chosen[turn % 2])
    for choice, shown in (("#users", who), ("#history", what)):
        row = page.locator(f"{choice} tr[data-pick]:not(.ckf-selected) .ckf-pick").last
        name = row.inner_text()
        row.click()
        page.wait_for_timeout(200)
        reload(page, problems)
        expect(shown).to_have_text(f"User {name}" if shown is who else name)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?user=99999", "99999"),
        ("?item=99999", "99999"),
        ("?rated=4:9", "1 to 5"),
        ("?user=3&at=<b>x</b>", "not a whole number"),
        ("?tab=nowhere", "tab='nowhere'"),
        ("?user=3&method=magic", "magic"),
        ("?user=3&at=99999999999999999999", "not a whole number"),
        ("?user=3&at=%C2%B2", "not a whole number"),
        ("?taste=x&age=-4", "not within"),
        ("?user=3%00", "unknown user"),
        ("?rated=" + "4:5," * 1001, "too many"),
        ("?taste=" + "x" * 4000, "4000 characters"),
        ("?taste=x&occupation=<img src=x onerror=alert(1)>", "occupation"),
        ("?item=<script>alert(1)</script>", "unknown item"),
    ],
)
def test_a_broken_or_hostile_link_is_a_message_and_the_default(fake_address, new_page, query, said):
    page = new_page(fake_address + query)
    expect_toast(page, said)
    expect(page.locator("#pair .ckf-who strong")).to_have_text("User 3")
    expect_answers(page)


@served_with(LONG_REAL, FAKE)
def test_the_printed_code_runs_as_printed(address, new_page):
    """All three ways give the rating that the page shows."""
    page = new_page(f"{address}?tab=python")
    rating = page.locator("#rating .ckf-figure strong").text_content()
    names = ["python-client", "python-mcp"]
    if page.locator("#python-recommender code").inner_text().count("checkpoints/"):
        names.append("python-recommender")
    for name in names:
        code = page.locator(f"#{name} code").inner_text()
        assert re.search(r'"user": "\d+"', code)
        done = subprocess.run(
            [sys.executable, "-c", code],
            **{"cwd": ROOT, "env": ENVIRONMENT, "capture_output": True, "text": True},
            timeout=240,
        )
        assert done.returncode == 0, f"{name}: {done.stderr[-800:]}"
        assert f"{rating} of 5" in done.stdout, name
        if name != "python-mcp":
            assert re.findall(r"^(\d) \w", done.stdout, re.MULTILINE) == list("12345")
