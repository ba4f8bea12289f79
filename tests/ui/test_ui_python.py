"""The Python tab's code: valid for every pair, whatever people write."""

import ast
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from ckf_demo.ui.pair import Pair
from ckf_demo.ui.python import ADDRESS, CLICK, RATING, ROOT, PythonTab, page_address, person_fields
from support.fakes import FakeRecommender


def texts(pair: Pair, checkpoint=ROOT / "checkpoints" / "ml-100k", asks=RATING) -> tuple[str, ...]:
    tab = SimpleNamespace(checkpoint=checkpoint, thing="film", asks=asks)
    return PythonTab.texts(tab, pair, ADDRESS)


@given(taste=st.text(max_size=60), item=st.text(min_size=1, max_size=8))
def test_the_code_is_python_and_holds_what_was_written(taste, item):
    pair = Pair(item=item, taste=taste, history=(("4", 5.0),), method="no-tokens")
    *blocks, _ = texts(pair)
    for block in blocks:
        assert block.startswith("```python\n") and block.endswith("\n```")
        assert not any(line.startswith("```") for line in block.splitlines()[1:-1])
        tree = ast.parse(block.removeprefix("```python\n").removesuffix("\n```"))
        values = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict | ast.Constant)
        }
        assert values["person"] == person_fields(pair)
        assert values["film"] == item


def test_without_ratings_it_asks_for_clicks():
    client, *_ = texts(Pair(item="1", user="3"), asks=CLICK)
    assert 'api_name="/click"' in client and "/rate" not in client


def test_a_checkpoint_of_the_repository_is_named_by_its_short_path(tmp_path):
    assert 'load("checkpoints/ml-100k")' in texts(Pair(item="1", user="3"))[1]
    assert str(tmp_path) in texts(Pair(item="1", user="3"), tmp_path)[1]


def test_the_address_is_the_visitors():
    for address, root, headers in (
        ("http://127.0.0.1:7860", "", {"host": "127.0.0.1:7860"}),
        ("https://x.example", "", {"origin": "https://x.example", "host": "inner"}),
        ("http://h:1/ckf", "/ckf/", {"host": "h:1"}),
    ):
        scope = SimpleNamespace(scope={"root_path": root})
        assert page_address(SimpleNamespace(headers=headers, request=scope)) == address


def test_fields_that_nobody_gave_are_left_out():
    assert person_fields(Pair(item="1", user="3", at=5)) == {"user": "3", "at": 5}
    assert FakeRecommender().rate(**person_fields(Pair(item="1", user="3")), item="1")["rating"]
