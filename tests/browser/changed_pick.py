"""How long the first tab takes to answer again when one pick of a new person is changed.

    python tests/browser/changed_pick.py http://127.0.0.1:7860 --times 6

Loads an example of a new person, gives one film other stars, again and again, and prints the
seconds from each click until the page shows other expected stars, and the median.
"""

import argparse
import statistics

from playwright.sync_api import sync_playwright

from support.chromium import ARGUMENTS, CHROMIUM, PATIENCE

STARS = "#rating .ckf-figure strong"
ANOTHER = f"(before) => document.querySelector('{STARS}')?.innerText != before"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("--times", type=int, default=6)
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.goto(given.address)
        page.wait_for_selector("body[data-ckf=ready]")
        page.wait_for_selector("#explanation-predict p")
        page.locator("#example-3").click()
        page.wait_for_function("document.querySelector('#pair strong').innerText == 'New person'")
        page.get_by_role("tab", name="New person").click()
        page.wait_for_timeout(8000)
        seconds = []
        for turn in range(given.times):
            before = page.locator(STARS).inner_text()
            stars = 5 if turn % 2 else 1
            page.locator("#rated-films li").nth(1).locator(f"[data-rating='{stars}']").click()
            began = page.evaluate("performance.now()")
            page.wait_for_function(ANOTHER, arg=before)
            seconds.append((page.evaluate("performance.now()") - began) / 1000)
            after = page.locator(STARS).inner_text()
            print(f"{stars} stars: {before} becomes {after} after {seconds[-1]:.2f} s")
            # its explanation is written before the next one is changed
            page.wait_for_timeout(6000)
        print(f"median {statistics.median(seconds):.2f} s")
        browser.close()


if __name__ == "__main__":
    main()
