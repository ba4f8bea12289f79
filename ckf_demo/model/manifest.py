"""The manifest of a checkpoint: what it was trained on, its settings, the hashes of its files."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ckf_demo.data.prepared import Prepared
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import replacing, sha256
from ckf_demo.tasks.registry import TASKS

FORMAT = 1
MANIFEST = "manifest.json"
ADAPTERS = "adapters"
"""The folder of the adapters within a checkpoint."""
SEAL = "seal"
"""The manifest's entry that reveals changes to it and to files other than weights."""

_NEEDED = {
    *("format", "name", "method", "tasks", "dataset", "backbone", "hashes", "calibration"),
    *("seed", "versions", "config"),
}
BORROWED = "borrowed"
"""The manifest's entry that names the checkpoint whose adapters this one uses."""
_ENTRIES = _NEEDED | {"training", "stages", BORROWED, SEAL}
SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints"
"""The project's own checkpoints."""


MEND = "restore it from the repository."


def config_hash(config: dict) -> str:
    """SHA-256 of a configuration as a manifest contains it."""
    return hashlib.sha256(json.dumps(config, indent=2).encode()).hexdigest()


def write_manifest(folder: Path, manifest: dict) -> None:
    """Write the manifest of a checkpoint, with its seal, beside the old one and rename it.

    The folder's other files are there already.
    """
    files = {
        p.relative_to(folder).as_posix(): sha256(p)
        for p in sorted(Path(folder).glob(f"{ADAPTERS}/*/adapter_config.json"))
    }
    sealed: dict[str, Any] = {**unsealed(manifest), SEAL: {"files": files}}
    sealed[SEAL]["manifest"] = _seal_hash(sealed)
    with replacing(Path(folder) / MANIFEST) as temporary:
        temporary.write_text(manifest_text(sealed))


def manifest_text(manifest: dict) -> str:
    """The text of a manifest's file."""
    return json.dumps(manifest, indent=2) + "\n"


def unsealed(manifest: dict) -> dict:
    """A manifest without its seal, on which no answer depends."""
    return {k: v for k, v in manifest.items() if k != SEAL}


def _seal_hash(manifest: dict) -> str:
    return config_hash({**unsealed(manifest), SEAL: {"files": manifest[SEAL]["files"]}})


def read_manifest(folder: Path) -> dict:
    """The manifest of a checkpoint; UserError when there is none, or one that was changed.

    A manifest without a seal, as earlier versions wrote it, is accepted.
    """
    path = Path(folder) / MANIFEST
    if not path.exists():
        raise UserError(
            f"No checkpoint at {folder}: {path.name} is missing; name a folder with one."
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); {MEND}") from error
    if not isinstance(manifest, dict):
        raise UserError(f"{path} is damaged (it is not a JSON object); {MEND}")
    if manifest.get("format") != FORMAT:
        raise UserError(f"{path} has format {manifest.get('format')}, not {FORMAT}; train again.")
    if wrong := sorted((_NEEDED - manifest.keys()) | (manifest.keys() - _ENTRIES)):
        verb = "lacks" if wrong[0] in _NEEDED else "has an unknown"
        raise UserError(f"{path} is damaged (it {verb} {wrong[0]!r}); {MEND}")
    if SEAL in manifest:
        seal = manifest[SEAL]
        whole = isinstance(seal, dict) and seal.keys() == {"files", "manifest"}
        if not whole or seal["manifest"] != _seal_hash(manifest):
            raise UserError(
                f"{path} was changed after training (its configuration, calibration or another "
                f"entry); {MEND}"
            )
    return manifest


def checked_manifest(folder: Path, prepared: Prepared) -> dict:
    """The manifest of a complete checkpoint for this data; UserError says what does not fit."""
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    if manifest["hashes"]["prepared"] != prepared.training_hash:
        settings = {k: v for k, v in manifest["config"]["data"].items() if k != "dataset"}
        if settings:
            words = ", ".join(f"data.{name} = {value}" for name, value in settings.items())
            raise UserError(
                f"The checkpoint {folder} was trained under other settings of the data ({words}); "
                "only `python -m ckf_demo.lab.robustness` can measure it."
            )
        raise UserError(
            f"The checkpoint {folder} was trained on other data than the prepared "
            f"'{prepared.dataset}'; run `ckf prepare`, or train again."
        )
    return manifest


def verify_files(folder: Path, manifest: dict) -> None:
    """Compare configuration and weight files with their hashes; UserError names what differs."""
    if config_hash(manifest["config"]) != manifest["hashes"]["config"]:
        raise UserError(
            f"The configuration in {Path(folder) / MANIFEST} was changed after training; {MEND}"
        )
    files = manifest["hashes"]["files"] | manifest.get(SEAL, {}).get("files", {})
    for name, expected in files.items():
        path = Path(folder) / name
        if not path.exists():
            raise UserError(f"The checkpoint {folder} is incomplete: {name} is missing.")
        if sha256(path) != expected:
            raise UserError(
                f"The checkpoint {folder} is damaged: {name} does not have the hash in its "
                f"manifest; {MEND}"
            )
    borrowed_changed(folder, manifest)


def adapters_folder(folder: Path, manifest: dict) -> Path:
    """Where the adapters of a checkpoint are: in its folder, or in that of another one.

    A checkpoint with adapters that were carried over names the other one, which is beside it or
    among the project's own.
    """
    if BORROWED not in manifest:
        return Path(folder) / ADAPTERS
    name = manifest[BORROWED]["checkpoint"]
    beside = Path(folder).parent / name / ADAPTERS
    return beside if beside.is_dir() else SHIPPED / name / ADAPTERS


def borrowed_changed(folder: Path, manifest: dict) -> bool:
    """Whether the adapters that a checkpoint uses of another one were trained again since.

    UserError when they are gone.
    """
    if BORROWED not in manifest:
        return False
    place, changed = adapters_folder(folder, manifest), False
    for name, expected in manifest[BORROWED]["files"].items():
        path = place / name
        if not path.exists():
            raise UserError(
                f"The checkpoint {folder} uses the adapters of "
                f"'{manifest[BORROWED]['checkpoint']}', and {path} is missing; make it again with "
                "ckf demo --data."
            )
        changed |= sha256(path) != expected
    return changed


def trained_checkpoints(root: Path) -> list[dict]:
    """The checkpoints under a folder, by name.

    Each has its name, method, data set, tasks, trained parameters (None in older manifests),
    megabytes and minutes of training on the machine that was used.
    """
    checkpoints = []
    for path in sorted(Path(root).glob("*/manifest.json")):
        manifest = read_manifest(path.parent)
        training = manifest.get("training", {})
        files = [path.parent / name for name in manifest["hashes"]["files"]]
        if missing := [file for file in files if not file.exists()]:
            raise UserError(
                f"The checkpoint {path.parent} is incomplete: {missing[0].name} is missing."
            )
        checkpoints.append(
            {
                "checkpoint": path.parent.name,
                "method": manifest["method"],
                "dataset": manifest["dataset"],
                "tasks": list(task_list(manifest)),
                "parameters": training.get("parameters"),
                "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 1),
                "minutes": training.get("minutes"),
            }
        )
    return checkpoints


def task_list(manifest: dict) -> tuple[str, ...]:
    """The tasks that a checkpoint declares, in the project's order."""
    return tuple(t for t in TASKS if t in manifest["tasks"])
