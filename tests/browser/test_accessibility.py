"""axe-core over every tab, in light and dark: no serious or critical violation.

Every fold is opened first, so that what lies inside is looked at as well.
"""

import pytest

from ckf_demo.ui.app import LABELS
from support.pages import open_tab, settle, violations

pytestmark = pytest.mark.long


def unfold(page, tab: str) -> None:
    """Open the tab, and everything that is folded on it."""
    open_tab(page, tab)
    # a section that is not answered yet is faded, so its contrast counts only afterwards
    settle(page)
    closed = page.locator("#tabs button.label-wrap:not(.open):visible")
    while closed.count():
        closed.first.click()
    settle(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_tab_has_a_grave_violation(fake_address, new_page, theme):
    page = new_page(f"{fake_address}?__theme={theme}")
    for fold in ("Choose another film", "Choose moment and method"):
        page.get_by_role("button", name=fold).click()
    for tab in LABELS.values():
        unfold(page, tab)
        assert violations(page) == [], f"on the tab {tab!r}"


def test_the_form_of_a_new_person_has_no_grave_violation(fake_address, new_page):
    page = new_page(f"{fake_address}?rated=4:5,9:1&taste=westerns&age=40")
    page.get_by_label("Find films and give them stars").press_sequentially("a")
    settle(page)
    assert violations(page) == []
