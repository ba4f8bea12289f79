"""Queries that strangers may send, from ``hostile_sql.toml``."""

import tomllib
from pathlib import Path

_QUERIES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
NOT_A_SELECT: list[str] = _QUERIES["not_a_select"]
WRONG_SELECTS: list[str] = [
    *_QUERIES["wrong_selects"],
    "SELECT " + "(" * 3000 + "1" + ")" * 3000,
    "SELECT '\ud800' FROM nowhere",
]
RUNAWAYS: list[str] = _QUERIES["runaways"]
