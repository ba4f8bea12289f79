"""Entry point of the demo: what a hosted Space and ``make demo`` run.

``python app.py`` prepares data and backbone on its first start, loads the committed checkpoint and
serves the page. It is ``ckf serve`` with its defaults; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT
choose another address. ``demo``, the Blocks object, is built when it is first asked for, so that
importing this module loads no model.
"""

from typing import TYPE_CHECKING

from ckf_demo.cli import main
from ckf_demo.serving.serve import build_demo

if TYPE_CHECKING:
    import gradio as gr


def __getattr__(name: str) -> "gr.Blocks":
    if name != "demo":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["demo"] = build_demo()
    return globals()["demo"]


if __name__ == "__main__":
    main(["serve"])
