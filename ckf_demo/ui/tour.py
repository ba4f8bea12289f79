"""The short tour of a first visit: a strip above the pair, so that it covers nothing.

Which step is shown, what it points at and whether it was dismissed is the page's business
(assets/app.js); all steps share one cell, so that the strip keeps its height.
"""

from ckf_demo.runtime.assets import asset
from ckf_demo.ui.markup import escape


def tour_markup(recommender) -> str:
    """All steps of the tour (``assets/page.toml``) with their buttons (HTML)."""
    domain, rated = recommender.domain, "rating" in recommender.tasks
    stars = "" if recommender.prepared.positive_only else " with stars"
    words = {"thing": domain.thing, "things": domain.things, "stars": stars}
    shown = [step for step in asset("page.toml")["tour"] if step.get("rated", rated) == rated]
    steps = ""
    for number, step in enumerate(shown):
        heading, text = (escape(step[part].format(**words)) for part in ("heading", "text"))
        now = "" if number else ' class="ckf-now"'
        steps += f'<li data-at="{escape(step["at"])}"{now}><strong>{heading}</strong> {text}</li>'
    return (
        f'<section class="ckf-tour" aria-label="Short tour"><ol>{steps}</ol>'
        f'<p class="ckf-tour-place"><span aria-hidden="true">1 of {len(shown)}</span></p>'
        '<div class="ckf-tour-buttons">'
        '<button type="button" class="ckf-button" data-tour="back">Back</button>'
        '<button type="button" class="ckf-button ckf-strong" data-tour="next">Next</button>'
        '<button type="button" class="ckf-button" data-tour="close">Close the tour</button>'
        '</div><p class="ckf-hidden" role="status"></p></section>'
    )
