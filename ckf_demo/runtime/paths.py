"""Paths of large and derived files, and how they are written without half-finished states.

A process locks the folder that it writes in, and the kernel drops the lock when the process ends.
So the leftovers of a killed process can be recognised.
"""

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ckf_demo.runtime.errors import UserError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}

# Libraries that write from C raise errors of their own, whose text holds the system's reason.
_REASONS = re.compile("|".join(os.strerror(code) for code in NO_ROOM))
_LITTLE = 1 << 16  # bytes; with less free, the disk is taken to be full

_SCRATCH = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}\.partial")


def cache_dir() -> Path:
    """The project's folder in the user's cache (``$XDG_CACHE_HOME`` or ``~/.cache``), created.

    Raises UserError when that is impossible.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ckf-demo"
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"{folder} cannot be the folder for caches ({error.strerror}); let XDG_CACHE_HOME name "
            "a folder that can be written"
        ) from error
    return folder


def store_path(dataset: str) -> Path:
    """The DuckDB file of a data set."""
    return cache_dir() / "data" / f"{dataset}.duckdb"


def prepared_path(dataset: str) -> Path:
    """The one file that training reads."""
    return cache_dir() / "data" / f"{dataset}.npz"


def backbone_path(name: str) -> Path:
    """The folder of a converted backbone."""
    return cache_dir() / "backbones" / name.replace("/", "--")


def cannot_write(path: Path, reason: str | None) -> UserError:
    """The one message for a full disk and for a folder that cannot be written."""
    return UserError(
        f"{path} cannot be written ({reason}); make room or let the folder be written and run "
        "again; XDG_CACHE_HOME names another folder for caches"
    )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` (file or folder) and rename it when all went well.

    Readers see the previous state or the new one, never something in between. After an exception
    the previous state stays, and the temporary files are removed. All data is on the disk before
    the renaming, so the same holds when the machine loses power. Leftovers of killed processes that
    were writing ``path`` are removed. Raises UserError when the disk is full or the folder cannot
    be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path.parent, path.name)
        with scratch_folder(path.parent, path.name) as scratch:
            temporary = scratch / path.name
            try:
                yield temporary
            except Exception as error:
                if (reason := _no_room(error, scratch)) is not None:
                    raise cannot_write(path, reason) from error
                raise
            for written in (*temporary.rglob("*"), temporary):
                _to_disk(written)
            _put_in_place(temporary, path)
            _to_disk(path.parent)


def write_json(path: Path | None, value: object) -> None:
    """Write ``value`` as indented JSON through `replacing`; without a path, do nothing."""
    if path is None:
        return
    with replacing(path) as temporary:
        text = json.dumps(value, indent=1, ensure_ascii=False)
        temporary.write_text(f"{text}\n", encoding="utf-8")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write at ``path`` into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM | NOT_WRITABLE:
            raise cannot_write(path, error.strerror) from error
        raise


@contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """A temporary folder in ``parent`` for writing ``name``; removed at the end.

    `clear_leftovers` leaves it alone for as long as this process lives.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".partial", dir=parent))
        # another process may clear it before the lock is taken
        try:
            owner = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        fcntl.flock(owner, fcntl.LOCK_EX)
        if folder.exists():
            break
        os.close(owner)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        os.close(owner)


def clear_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left in a folder, all of it or only of ``name``."""
    if not folder.is_dir():
        return
    for entry in list(os.scandir(folder)):
        match = _SCRATCH.fullmatch(entry.name)
        if match is None or (name is not None and match["name"] != name):
            continue
        try:
            owner = os.open(entry.path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            previous, target = Path(entry.path) / "previous", folder / match["name"]
            if previous.exists() and not target.exists():
                os.replace(previous, target)
            shutil.rmtree(entry.path, ignore_errors=True)
        finally:
            os.close(owner)


@contextmanager
def exclusive(lock: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file; UserError if it cannot be created.

    If another process holds it, call ``busy``, which may raise, then wait.
    """
    with writing(lock.parent):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _put_in_place(temporary: Path, path: Path) -> None:
    if temporary.is_dir() and path.is_dir():
        if _exchange(temporary, path):
            return
        # Between these two steps there is no folder; `clear_leftovers` puts the previous one back.
        os.replace(path, temporary.parent / "previous")
    os.replace(temporary, path)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0:
        return True
    code = ctypes.get_errno()
    if code in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _no_room(error: Exception, scratch: Path) -> str | None:
    """The reason if a failure was for lack of room on the disk, otherwise None."""
    if isinstance(error, UserError) or getattr(error, "errno", None) is not None:
        return None
    if match := _REASONS.search(str(error)):
        return match[0]
    room = os.statvfs(scratch)
    if room.f_bavail * room.f_frsize < _LITTLE:
        return os.strerror(errno.ENOSPC)
    return None
