"""What items are about: people, tags, countries, languages and a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

COLUMNS = ("directors", "actors", "tags", "countries", "languages")
"""Columns that hold several names for an item."""


@dataclass(frozen=True)
class ItemFacts:
    """One entry for each item, in the items' order; empty where nothing is known.

    ``directors`` and ``actors`` are names in the order of billing, ``tags`` terms for subject,
    setting and tone, ``countries`` and ``languages`` English names, and ``descriptions`` one
    sentence each.
    """

    directors: Sequence[tuple[str, ...]]
    actors: Sequence[tuple[str, ...]]
    tags: Sequence[tuple[str, ...]]
    countries: Sequence[tuple[str, ...]]
    languages: Sequence[tuple[str, ...]]
    descriptions: Sequence[str]

    @classmethod
    def empty(cls, n: int) -> "ItemFacts":
        """Facts of ``n`` items of which nothing is known."""
        none: list[tuple[str, ...]] = [()] * n
        return cls(none, none, none, none, none, [""] * n)

    def __len__(self) -> int:
        return len(self.descriptions)

    @classmethod
    def from_json(cls, columns: dict) -> "ItemFacts":
        """The facts that `to_json` returned."""
        names = {column: [tuple(each) for each in columns[column]] for column in COLUMNS}
        return cls(**names, descriptions=columns["descriptions"])

    def to_json(self) -> dict:
        """Plain lists by column."""
        return {f.name: [*map(_plain, getattr(self, f.name))] for f in fields(self)}

    def of(self, items: Sequence[int]) -> "ItemFacts":
        """The facts of some items, by index, in their order."""
        return ItemFacts(*([getattr(self, f.name)[i] for i in items] for f in fields(self)))

    def about(self, item: int) -> str:
        """The item's sentence and tags; empty where neither is known."""
        parts = (self.descriptions[item], ", ".join(self.tags[item]))
        return " ".join(part for part in parts if part)

    def text(self, item: int) -> str:
        """All that is known of an item, as one text."""
        parts = [
            *(f"directed by {name}" for name in self.directors[item]),
            *([f"with {', '.join(self.actors[item])}"] if self.actors[item] else []),
            *([", ".join(self.countries[item])] if self.countries[item] else []),
            *([", ".join(self.tags[item])] if self.tags[item] else []),
        ]
        return ". ".join(part for part in (self.descriptions[item], *parts) if part)


def _plain(value: str | tuple[str, ...]) -> str | list[str]:
    return value if isinstance(value, str) else list(value)
