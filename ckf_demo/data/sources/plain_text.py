"""Texts of people without what their files added: line breaks, control characters, markup."""

from __future__ import annotations

import html
import re
import unicodedata

_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>|<!--.*?-->")
_ESCAPED_TWICE = 3


def plain(text: object) -> str:
    """Text on one line, composed, without control characters; empty for what is no text."""
    if not isinstance(text, str):
        return ""
    composed = unicodedata.normalize("NFC", text)
    return " ".join("".join(c if c.isprintable() else " " for c in composed).split())


def unmarked(text: object) -> str:
    """`plain` text of what may be HTML: ``&amp;`` becomes ``&``, also where it was escaped twice,
    and tags such as ``<br />`` go."""
    if not isinstance(text, str):
        return ""
    for _ in range(_ESCAPED_TWICE):
        read = html.unescape(text)
        if read == text:
            break
        text = read
    return plain(_TAG.sub(" ", text))
