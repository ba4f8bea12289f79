"""The named endpoints as tools of the Model Context Protocol, over HTTP from a running app."""

import json
from urllib.request import urlopen

import jsonschema
import pytest

from support.fakes import FakeRecommender, catalogue_with_facts
from support.serving import ask_tools, served

TOOLS = set(
    "search_items read_taste match_ratings history rate click rank explain contrast compare why "
    "query".split()
)
PERSON = {"user", "history", "taste", "profile", "at", "strength"}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served(FakeRecommender(), tmp_path_factory.mktemp("cache")) as demo:
        yield demo.local_url


def test_the_named_endpoints_and_nothing_else_are_tools(address):
    tools, _ = ask_tools(address)
    with urlopen(f"{address}gradio_api/info") as answer:
        named = json.load(answer)["named_endpoints"]
    assert {f"/{name}" for name in tools} == set(named)
    assert set(tools) >= TOOLS
    for tool in tools.values():
        jsonschema.Draft202012Validator.check_schema(tool.inputSchema)
        assert "Returns" in tool.description and ",," not in tool.description, tool.name
        for name, field in tool.inputSchema["properties"].items():
            assert field["description"], f"{tool.name}.{name}"
            assert {"type", "oneOf", "anyOf", "enum"} & set(field), f"{tool.name}.{name}"


def test_schemas_say_what_a_person_is(address):
    tools, _ = ask_tools(address)
    fields = tools["rate"].inputSchema["properties"]
    assert set(fields) == PERSON | {"item", "method"}
    history, profile, method = (fields[k]["oneOf"][1] for k in ("history", "profile", "method"))
    assert history["items"]["required"] == ["item", "rating"]
    assert set(profile["properties"]) == {"age", "gender", "occupation"}
    assert method["enum"] == list(FakeRecommender().methods)
    assert tools["search_items"].inputSchema["required"] == ["query"]


def test_tools_answer_in_json(address):
    person = {"history": [{"item": "4", "rating": 5}], "profile": {"age": 40}}
    _, results = ask_tools(
        address,
        ("search_items", {"query": "winter", "limit": 3}),
        ("rate", {"user": "3", "item": "7"}),
        ("rank", {**person, "k": 4}),
        ("explain", {"user": "3", "item": "7"}),
        ("contrast", {"user": "3", "item": "7", "other": "8", "bridges_of": "5"}),
    )
    assert not any(result.isError for result in results)
    films, rated, rows, explained, contrasted = (json.loads(r.content[0].text) for r in results)
    assert len(films) == 3 and all("Winter" in film["title"] for film in films)
    assert 1 <= rated["rating"] <= 5
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    # null, not None: the fourth film has no later rating of somebody who is in no data set
    assert rows[3]["later_rating"] is None
    assert explained["polarity"] in ("positive", "mixed", "negative")
    named = [(own["side"], own["item"]) for own in contrasted["sides"]]
    assert named == [("this", "7"), ("that", "8"), ("bridges", "7")]


def test_tools_name_directors_and_themes(tmp_path):
    calls = [("search_items", {"query": "sharks"}), ("rank", {"taste": "sharks", "k": 40})]
    with served(FakeRecommender(data=catalogue_with_facts()), tmp_path) as demo:
        tools, results = ask_tools(demo.local_url, *calls)
    for name, result in zip(("search_items", "rank"), results, strict=True):
        assert '"directors", "tags"' in tools[name].description
        rows = {row["item"]: row for row in json.loads(result.content[0].text)}
        assert rows["7"]["tags"] == ["sharks", "beach"]
        assert rows["7"]["directors"] in (["Ann Lee"], ["Bo Ray"])


def test_errors_of_tools_say_what_was_given(address):
    _, (unknown, wrong, bad) = ask_tools(
        address,
        ("rate", {"user": "999", "item": "7"}),
        ("rate", {"user": "3", "item": "7", "method": "magic"}),
        ("query", {"sql": "DROP TABLE items"}),
    )
    assert unknown.isError and "user '999'" in unknown.content[0].text
    assert wrong.isError and "magic" in wrong.content[0].text
    assert bad.isError and "Traceback" not in bad.content[0].text


def test_own_ratings_become_a_history(address):
    ratings = "Quiet Harbour (1930) 9/10\nThe Quiet Orchard; 1932; 1/10\nQuiet Machin, 4"
    listed = [{"title": "Quiet Harbour", "rating": 7}, {"title": "Nothing", "rating": 10}]
    _, results = ask_tools(
        address,
        ("match_ratings", {"ratings": ratings}),
        ("match_ratings", {"ratings": listed, "scale": 10}),
        ("match_ratings", {"ratings": ""}),
    )
    lines, objects = (json.loads(result.content[0].text) for result in results[:2])
    assert lines["history"] == [
        {"item": "1", "rating": 4.5, "imported": True},
        {"item": "2", "rating": 0.5, "imported": True},
    ]
    (question,) = lines["questions"]
    assert question["candidates"] == [{"item": "3", "title": "Quiet Machine", "year": 1934}]
    assert [row["rating"] for row in objects["matched"]] == [3.5]
    assert objects["not_found"][0]["reason"] == "the catalogue has no such title"
    assert results[2].isError and "no ratings were given" in results[2].content[0].text
    # half a star counts where it was imported
    _, (rated, refused) = ask_tools(
        address,
        ("click", {"history": lines["history"], "item": "7"}),
        ("click", {"history": [{"item": "2", "rating": 0.5}], "item": "7"}),
    )
    assert 0 < json.loads(rated.content[0].text)["probability"] < 1
    assert refused.isError and "outside 1 to 5; give 1 to 5 stars" in refused.content[0].text
