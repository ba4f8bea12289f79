"""What visitors read of HTML."""

import html
import re


def visible(markup: str) -> str:
    """The words of HTML, and of attributes that are read out as well."""
    spoken = re.findall(r'(?:aria-label|title|placeholder)="([^"]*)"', markup)
    return html.unescape(" ".join([re.sub("<[^>]*>", " ", markup), *spoken]))
