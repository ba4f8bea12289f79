"""What is said twice is said alike: versions in the requirements, the Space, the package."""

import re
import tomllib
from importlib.metadata import version

import yaml

import ckf_demo
from support.paths import ROOT


def requirements(name: str) -> list[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r"))]


def test_requirements_are_pinned_exactly_and_installed_so():
    for line in requirements("requirements.txt") + requirements("requirements-dev.txt"):
        assert re.fullmatch(r"[\w.-]+==[\w.]+", line), line
        package, pinned = line.split("==")
        # A build of the same release, such as torch's for the CPU, adds a "+" and a label.
        assert version(package).split("+")[0] == pinned


def test_the_space_runs_the_pinned_gradio_and_python():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(readme.split("---")[1])
    assert f"gradio=={front['sdk_version']}" in requirements("requirements.txt")
    assert front["python_version"] == "3.11"
    assert (ROOT / front["app_file"]).is_file()
    assert len(front["short_description"]) <= 60


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == citation["version"] == ckf_demo.__version__
