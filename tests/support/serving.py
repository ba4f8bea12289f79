"""The page of a recommender, served for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import pytest

from ckf_demo.ui.app import build, launch


@contextmanager
def served(recommender, cache: Path) -> Iterator[gr.Blocks]:
    """The launched page; what building it would keep in the user's cache goes to ``cache``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        demo = build(recommender)
    launch(demo)
    try:
        yield demo
    finally:
        demo.close()
