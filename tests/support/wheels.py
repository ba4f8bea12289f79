"""Wheels made at run time, for tests of downloads."""

import zipfile
from pathlib import Path

from ckf_demo.runtime.paths import sha256


def write_wheel(folder: Path, package: str, files: dict[str, bytes]) -> str:
    """A wheel of one version; its line in the file of pins."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{package}-1.0-py3-none-any.whl"
    about = f"{package}-1.0.dist-info"
    members = {
        **files,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return f"{package}==1.0 --hash=sha256:{sha256(path)}\n"
