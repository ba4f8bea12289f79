"""The progress of a training in the background, on the page of its data set."""

from __future__ import annotations

from typing import Protocol

import gradio as gr

from ckf_demo.ui.events import QUIET
from ckf_demo.ui.markup import escape, panel

EVERY = 3.0
"""Seconds between two looks."""


class Training(Protocol):
    """A training that can be stopped and gone on with; its progress is one line as text."""

    @property
    def progress(self) -> object: ...

    @property
    def can_stop(self) -> bool: ...

    def stop(self) -> None: ...

    def go_on(self) -> None: ...


class TrainingPanel:
    """The line of progress with Stop and Go on."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self.line = panel(self._text(), elem_id="training")
        with gr.Row():
            options = {"size": "sm", "min_width": 90}
            self.stop = gr.Button("Stop", elem_id="training-stop", **options)
            self.go_on = gr.Button("Go on", elem_id="training-go-on", **options)
        self._timer = gr.Timer(EVERY)

    def wire(self) -> None:
        """Let the line follow the training, and the buttons act on it."""
        outputs = [self.line, self.stop, self.go_on]
        self._timer.tick(self._shown, outputs=outputs, **QUIET)

        def stop() -> list:
            self._training.stop()
            return self._shown()

        def go_on() -> list:
            self._training.go_on()
            return self._shown()

        self.stop.click(stop, outputs=outputs, **QUIET)
        self.go_on.click(go_on, outputs=outputs, **QUIET)

    def _text(self) -> str:
        return f'<p role="status">{escape(str(self._training.progress))}</p>'

    def _shown(self) -> list:
        """The line, and the buttons that can be pressed now."""
        runs = self._training.can_stop
        done = getattr(self._training.progress, "state", "") == "done"
        return [
            gr.update(value=self._text()),
            gr.update(interactive=runs),
            gr.update(interactive=not runs and not done),
        ]
