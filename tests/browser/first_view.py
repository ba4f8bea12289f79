"""How long a visitor of a served page waits for the first tab's answers.

    python tests/browser/first_view.py http://127.0.0.1:7860 --times 3

Prints the seconds from the start of the navigation, in a browser without anything cached, until
rating, probability and explanation are visible, and until the page listens to clicks.
"""

import argparse

from playwright.sync_api import sync_playwright

from support.chromium import ARGUMENTS, CHROMIUM, PATIENCE

ANSWERS = ("#rating .ckf-figure strong", "#click .ckf-figure strong", "#explanation-predict p")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for _ in range(given.times):
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.set_default_timeout(PATIENCE)
            page.goto(given.address, wait_until="commit")
            for selector in ANSWERS:
                page.wait_for_selector(selector)
            visible = page.evaluate("performance.now()") / 1000
            page.wait_for_selector("body[data-ckf=ready]")
            ready = page.evaluate("performance.now()") / 1000
            print(f"answers visible after {visible:.2f} s, ready for clicks after {ready:.2f} s")
            page.context.close()
        browser.close()


if __name__ == "__main__":
    main()
