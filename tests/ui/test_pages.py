"""Several data sets in one process: where each is, what waits, what fails, what is shared."""

import asyncio
import json
import threading
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from gradio_client import Client

from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path
from ckf_demo.serving import serve
from ckf_demo.ui.app import build, launch
from ckf_demo.ui.pages import Place, data_links
from ckf_demo.ui.routes import OpenRoutes
from support.fakes import FakeRecommender
from support.serving import ask_tools
from support.waiting import wait_until

FIRST, SECOND, BROKEN = Place("", "First"), Place("second", "Second & more"), Place("broken", "B")
PLACES = [FIRST, SECOND, BROKEN]
HTML = {"accept": "text/html"}


def checkpoint(folder: Path, dataset: str, *tasks: str) -> Path:
    folder.mkdir(parents=True)
    tasks = tasks or ("rating", "ctr", "ranking", "explanation")
    manifest = {"name": folder.name, "dataset": dataset, "tasks": tasks}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def unsealed(monkeypatch) -> None:
    """Manifests of a few fields, read as they are."""

    def read(folder: Path) -> dict:
        try:
            return json.loads((Path(folder) / "manifest.json").read_text())
        except ValueError as error:
            raise UserError("unreadable") from error

    monkeypatch.setattr("ckf_demo.model.manifest.read_manifest", read)


def test_beside_the_first_stand_those_that_are_prepared_and_answer_all(
    tmp_path, empty_cache, unsealed, capsys
):
    first = checkpoint(tmp_path / "films", "films")
    for name in ("yelp", "clicks", "unprepared", "another-seed"):
        dataset = "yelp" if name == "another-seed" else name
        tasks = {"yelp": ("ctr", "ranking", "explanation"), "clicks": ("ctr",)}.get(name, ())
        checkpoint(tmp_path / name, dataset, *tasks)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "manifest.json").write_text("{")
    for name in ("films", "yelp", "clicks"):
        prepared_path(name).parent.mkdir(parents=True, exist_ok=True)
        prepared_path(name).touch()
    assert serve.others_beside(first) == [tmp_path / "yelp"]
    assert "damaged is not served: unreadable" in capsys.readouterr().out


def test_places_have_names_of_their_own(tmp_path, unsealed):
    films = checkpoint(tmp_path / "films", "ml-100k")
    yelp = checkpoint(tmp_path / "yelp", "made-up")
    assert serve.placed([films, yelp]) == [Place("", "MovieLens-100K"), Place("yelp", "made-up")]
    again = checkpoint(tmp_path / "more" / "yelp", "made-up")
    with pytest.raises(UserError, match=r"cannot be served at /yelp, where something else"):
        serve.placed([films, yelp, again])
    with pytest.raises(UserError, match=r"cannot be served at /config"):
        serve.placed([films, checkpoint(tmp_path / "config", "made-up")])


def test_links_lead_from_every_page_to_every_other():
    assert data_links(PLACES, None) == data_links([FIRST], FIRST) == ""
    from_first, from_second = data_links(PLACES, FIRST), data_links(PLACES, SECOND)
    assert '<a href="./" aria-current="page">First</a>' in from_first
    assert '<a href="./second/">Second &amp; more</a>' in from_first
    assert '<a href="../">First</a>' in from_second
    assert '<a href="../second/" aria-current="page">' in from_second
    assert from_first.count("aria-current") == from_second.count("aria-current") == 1


def test_below_a_path_the_same_is_open_and_nothing_else():
    paths = ["/second", "/second/", "/second/gradio_api/queue/join"]
    others = "/second/gradio_api/upload /second/monitoring /secondary/ /second/second/".split()
    passed = []

    async def app(scope, receive, send):
        passed.append(scope["path"])

    async def send(message):
        pass

    for path in (*paths, *others, "/gradio_api/upload"):
        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        asyncio.run(OpenRoutes(app, below=["second"])(scope, None, send))
    assert passed == paths


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Three pages: one there, one that is built when ``go`` is set, one that cannot be."""
    go = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        demo = build(FakeRecommender(), places=PLACES, own=FIRST)
        made = {}

        def second():
            assert go.wait(60)
            beside = {"places": PLACES, "own": SECOND, "beside": demo.service}
            return made.setdefault("second", build(FakeRecommender(), **beside))

        def broken():
            raise UserError("its weights are <damaged>")

        launch(demo, [(SECOND, second), (BROKEN, broken)])
        yield SimpleNamespace(url=demo.local_url, demo=demo, go=go, made=made)
        demo.close()


def state(served, name: str) -> str:
    return httpx.get(f"{served.url}healthz").json()["pages"][name]


def test_a_page_loads_when_it_is_asked_for_and_then_is_one_of_its_own(served):
    assert state(served, "second") == "waiting"
    moved = httpx.get(f"{served.url}second?user=3", headers=HTML)
    assert moved.status_code == 307 and moved.headers["location"] == "second/?user=3"
    page = httpx.get(f"{served.url}second/", headers=HTML)
    assert page.status_code == 200 and 'http-equiv="refresh"' in page.text
    assert "Second &amp; more is loading" in page.text
    answer = httpx.get(f"{served.url}second/config")
    assert answer.status_code == 503 and answer.headers["retry-after"] == "2"
    assert state(served, "second") == answer.json()["status"] == "loading"
    # the first page answers all the while
    assert httpx.get(served.url, headers=HTML).status_code == 200

    served.go.set()
    wait_until(lambda: state(served, "second") == "ready")
    client, first = (Client(f"{served.url}{path}", verbose=False) for path in ("second/", ""))
    asked = {"user": "1", "item": "1"}
    _, (rated,) = ask_tools(f"{served.url}second/", ("rate", asked))
    answers = [page.predict(**asked, api_name="/rate") for page in (client, first)]
    assert {a["rating"] for a in answers} == {json.loads(rated.content[0].text)["rating"]}
    links = httpx.get(f"{served.url}second/config").text
    assert r"<a href=\"../\">First</a>" in links


def test_all_pages_pass_the_same_gates(served):
    served.go.set()
    httpx.get(f"{served.url}second/", headers=HTML)
    wait_until(lambda: state(served, "second") == "ready")
    own, other = served.demo.service, served.made["second"].service
    assert own is not other
    assert own.model is other.model and own.long is other.long
    assert httpx.get(f"{served.url}second/gradio_api/upload").status_code == 404


def test_what_cannot_be_loaded_says_why_and_takes_nothing_with_it(served):
    httpx.get(f"{served.url}broken/", headers=HTML)
    wait_until(lambda: state(served, "broken") == "failed")
    page = httpx.get(f"{served.url}broken/", headers=HTML)
    assert page.status_code == 503 and "http-equiv" not in page.text
    assert "could not be loaded: its weights are &lt;damaged&gt;" in page.text
    answer = httpx.get(f"{served.url}broken/gradio_api/info")
    assert answer.status_code == 503 and "retry-after" not in answer.headers
    assert httpx.get(f"{served.url}healthz").json()["status"] == "ok"
    assert httpx.get(served.url, headers=HTML).status_code == 200
