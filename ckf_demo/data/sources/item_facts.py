"""Facts about items, from a table of their own: ``item_facts.csv`` in a data set's folder.

Its header has ``item``, the item's id, and any of ``directors``, ``actors``, ``tags``,
``countries``, ``languages`` and ``description``; a bar separates several names. Where it has a
``title``, such as "Fargo (1996)", rows with another title than the item's are left out, since ids
may be those of other data. Other columns are not read.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ckf_demo.data.item_facts import COLUMNS, ItemFacts
from ckf_demo.data.sources.base import RawData
from ckf_demo.runtime.errors import UserError

FACTS_FILE = "item_facts.csv"
SEPARATOR = "|"


def with_item_facts(raw: RawData, path: Path) -> RawData:
    """Raw data with the facts of a table, where there is such a file.

    Raises
    ------
    UserError
        When the table cannot be read, has no column ``item`` or has an item twice.
    """
    if not path.exists():
        return raw
    ids = raw.items["item"].astype(str).tolist()
    table = _of_same_titles(_read(path), raw.items)
    strangers = len(set(table.index) - set(ids))
    notes = raw.notes
    if strangers:
        notes += (f"{path.name} describes {strangers:,} items that the data do not have.",)
    return replace(raw, facts=_facts(table, ids), notes=notes)


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); it must be a CSV in UTF-8") from error
    if "item" not in table:
        raise UserError(f"{path} has no column item; its header has {', '.join(table.columns)}")
    twice = table.loc[table["item"].duplicated(), "item"]
    if len(twice):
        raise UserError(f"{path}: item {twice.iloc[0]!r} is there twice; keep one line of it")
    return table.set_index("item")


def _of_same_titles(table: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """The rows whose title, where the table has one, is that of the item with this id."""
    if "title" not in table:
        return table
    names = [
        title if pd.isna(y) else f"{title} ({y})" for title, y in items[["title", "year"]].values
    ]
    titles = pd.Series(names, index=items["item"].astype(str)).reindex(table.index)
    return table[titles.isna() | (titles == table["title"])]


def _facts(table: pd.DataFrame, ids: Sequence[str]) -> ItemFacts:
    columns = table.reindex(index=list(ids), columns=[*COLUMNS, "description"], fill_value="")
    names = {
        column: [
            tuple(name for part in cell.split(SEPARATOR) if (name := " ".join(part.split())))
            for cell in columns[column]
        ]
        for column in COLUMNS
    }
    descriptions = [" ".join(text.split()) for text in columns["description"]]
    return ItemFacts(**names, descriptions=descriptions)
