"""The log of the service: one JSON object a line on stderr, without personal data.

``CKF_LOG=json`` writes a line for each answer, ``CKF_LOG=off`` for failures alone. By default
answers are logged unless stderr is a terminal.
"""

import json
import logging
import os
import sys
import traceback
from pathlib import Path

from ckf_demo.runtime.errors import UserError

LOGGER = logging.getLogger("ckf_demo.service")
CHOICES = ("json", "off")


class JsonLines(logging.Formatter):
    """Time, level and event, then the fields given as ``extra={"fields": …}``.

    A failure is logged as the type of the error and where it was raised. Its text and the values of
    variables are left out, since they may be personal data.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            line["at"] = [
                f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(error.__traceback__)
            ]
        return json.dumps(line)


def start_logging() -> None:
    """Send the service's log to stderr, as ``CKF_LOG`` says; UserError if it is unknown."""
    level = os.environ.get("CKF_LOG") or ("off" if sys.stderr.isatty() else "json")
    if level not in CHOICES:
        raise UserError(f"CKF_LOG={level!r} is unknown; choose {' or '.join(CHOICES)}.")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    LOGGER.handlers = [handler]
    LOGGER.propagate = False
    LOGGER.setLevel(logging.INFO if level == "json" else logging.ERROR)
