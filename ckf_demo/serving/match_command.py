"""``ckf match``: which films of a data set somebody's own ratings are about."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ckf_demo.data.exports import exported
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.rating_files import LARGEST_FILE
from ckf_demo.data.rating_rows import read_ratings
from ckf_demo.model.manifest import read_manifest
from ckf_demo.retrieval.own_ratings import TitleMatcher, as_answer, open_rows
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, replacing, write_json


def match(
    file: Path,
    checkpoint: Path,
    scale: int | None = None,
    out: Path | None = None,
    unmatched: Path | None = None,
) -> None:
    """Print what each rating of a file is about, and write the person and what is open.

    No model is loaded. ``out`` gets the person as `ckf score` reads them, ``unmatched`` the ratings
    that are about no film.

    Raises
    ------
    UserError
        When the file or the data cannot be read.
    """
    if not file.is_file():
        raise UserError(f"{file} is no file; give an export or a table of your ratings")
    with file.open("rb") as handle:
        # one byte more says that it is too large
        content = handle.read(LARGEST_FILE + 1)
    prepared = Prepared.load(prepared_path(read_manifest(checkpoint)["dataset"]))
    matches = TitleMatcher(prepared).match(read_ratings(content, scale))
    answer = as_answer(prepared, matches)
    _print(answer)
    if out is not None:
        if not answer["history"]:
            raise UserError(f"{file} matches nothing in {prepared.dataset}; {out} is not written")
        write_json(out, [{"name": file.stem, "history": answer["history"]}])
    if unmatched is not None:
        with replacing(unmatched) as temporary:
            temporary.write_bytes(exported(open_rows(matches), "csv"))


def _print(answer: dict) -> None:
    console = Console()
    table = Table(box=SIMPLE_HEAD)
    for label in ("Yours", "Stars", "Matched with", "Id"):
        table.add_column(label, justify="right" if label == "Stars" else "left")
    for row in answer["matched"]:
        film = _name(row["item_title"], row["item_year"])
        table.add_row(_name(row["title"], row["year"]), f"{row['rating']:g}", film, row["item"])
    for row in answer["questions"]:
        asked = " or ".join(_name(each["title"], each["year"]) for each in row["candidates"])
        about = f"{asked}? ({row['reason']})"
        table.add_row(_name(row["title"], row["year"]), f"{row['rating']:g}", about, "")
    for row in answer["not_found"]:
        table.add_row(_name(row["title"], row["year"]), f"{row['rating']:g}", row["reason"], "")
    console.print(table)
    counts = [f"{len(answer['matched'])} matched", f"{len(answer['questions'])} to be asked"]
    counts.append(f"{len(answer['not_found'])} not found")
    counts += [f"{n} left out ({reason})" for reason, n in answer["left_out"].items()]
    console.print(f"Read as {answer['source']}, on a scale of {answer['scale']}.", markup=False)
    console.print(f"{'; '.join(counts)}.", markup=False)
    for note in answer["notes"]:
        console.print(note, markup=False)


def _name(title: str, year: int | None) -> str:
    # square brackets are markup to rich
    text = f"{title} ({year})" if year else title
    return text.replace("[", r"\[")
