"""What all tests share: no network, one thread per library, and the committed checkpoint."""

import os
from pathlib import Path

# Set before any library reads them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    # several processes share the cores; more threads than cores make all of them crawl
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "checkpoints" / "ml-100k"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user cache without anything in it; returns the folder that the project may fill."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ckf-demo"


@pytest.fixture(scope="session")
def recommender():
    """The committed checkpoint, loaded once; prepares data and backbone if they are missing."""
    from ckf_demo.backbone.loading import BackboneConfig, prepare_backbone
    from ckf_demo.data.prepare import prepare
    from ckf_demo.recommender import Recommender

    prepare("ml-100k", None)
    prepare_backbone(BackboneConfig().name)
    loaded = Recommender.load(CHECKPOINT)
    yield loaded
    # a thread that still computes when the interpreter ends would abort it, whatever the tests said
    with loaded._lock:
        pass


LONG = ("test_accessibility.py", "test_cold_start.py", "test_map.py", "test_robustness.py")
"""Files that are left to `make test-long`."""

LONG_WITH_THE_MODEL = ("test_links.py", "test_why.py")
"""Files of which the walks with the real model are; those with a fake one are in every run."""


LONG_WALKS = (
    "test_a_known_user_through_all_tabs[fake]",
    "test_a_new_person_through_all_tabs[real]",
)
"""Of each walk through all tabs one kind is in every run: with the real model, with a fake one."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        real = item.get_closest_marker("real")
        with_the_model = real and item.path.name in LONG_WITH_THE_MODEL
        if item.path.name in LONG or with_the_model or item.name in LONG_WALKS:
            item.add_marker(pytest.mark.long)
        if real or item.get_closest_marker("browser"):
            # what they run is not theirs to cover, and tracing it would double their time
            item.add_marker(pytest.mark.no_cover)
