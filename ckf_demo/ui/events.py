"""How events of the page are registered with Gradio."""

PRIVATE = {"api_visibility": "private"}
"""No endpoint: an event of the page alone."""
QUIET = {**PRIVATE, "show_progress": "hidden"}
CHOICE = {"trigger_mode": "multiple", "concurrency_limit": 1, **QUIET}
"""A choice of a row or a button: each of several quick ones counts, one after the other.

By default Gradio drops what is pressed while an event of the same kind is on its way, and of those
that it puts off it forgets which row they were about.
"""
# The gates bound what runs at once, so Gradio's queue need not.
GATED = {"concurrency_limit": None}
ANSWER = {"trigger_mode": "always_last", **PRIVATE, **GATED}
"""An answer that passes a gate; of several events that wait, the last one is answered."""
ONCE = {"trigger_mode": "once", **PRIVATE, **GATED}
"""An answer that passes a gate and that is not asked for again while it is made."""
CLOSE_DRAWER = {"js": "() => window.ckf.closeDrawer()", **PRIVATE}
"""On a phone the drawer closes after a choice."""
CLOSE_UNLESS_PROBLEM = {
    "js": "(problem) => { if (!problem) window.ckf.closeDrawer();"
    " else setTimeout(() => [...document.querySelectorAll('.sidebar .ckf-problem')].at(-1)"
    "?.scrollIntoView({ block: 'nearest' }), 100); }",
    **PRIVATE,
}
"""The same, unless something in the drawer says what is wrong: that is then scrolled to."""
# Free queries ask no model, but each may take a core for seconds.
DATA_QUEUE = {"concurrency_id": "data", "concurrency_limit": 2}
# Maps ask the fusion alone, so they need not wait for the language model's answers.
MAP_QUEUE = {"concurrency_id": "map", "concurrency_limit": 1}
