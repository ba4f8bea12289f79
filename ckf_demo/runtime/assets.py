"""Files that come with the program: configurations, styles, wordings and lists of words."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).resolve().parents[2] / "assets"


@cache
def asset(name: str) -> dict[str, Any]:
    """A TOML file of the assets, read once."""
    return tomllib.loads((ASSETS / name).read_text(encoding="utf-8"))


def word_list(name: str) -> frozenset[str]:
    """One of the lists of English words in ``assets/words.toml``."""
    return frozenset(asset("words.toml")[name].split())
