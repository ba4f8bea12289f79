"""A recommender without weights, and a client of its page."""

from collections.abc import Iterator

import pytest
from gradio_client import Client

from support.fakes import FakeRecommender
from support.serving import served


@pytest.fixture(scope="session")
def fake() -> FakeRecommender:
    return FakeRecommender()


@pytest.fixture
def fresh() -> FakeRecommender:
    """One that was asked nothing yet."""
    return FakeRecommender()


@pytest.fixture(scope="session")
def client(fake, tmp_path_factory) -> Iterator[Client]:
    with served(fake, tmp_path_factory.mktemp("cache")) as demo:
        yield Client(demo.local_url, verbose=False)
