"""bpr.toml."""

from __future__ import annotations

import pytest

from bpr_cli.defaults import read_defaults
from bpr_cli.errors import InputError

# Each with whether it may be repeated.
OPTIONS = {
    "refine": {"images": False, "nms_threshold": False, "model": True},
    "extract": {"images": False, "seed": False, "results": True},
}


@pytest.fixture
def toml(tmp_path):
    def write(text: str):
        path = tmp_path / "bpr.toml"
        path.write_text(text)
        return path

    return write


def test_no_file_means_no_defaults(tmp_path):
    assert read_defaults(tmp_path / "bpr.toml", OPTIONS) == {}


def test_a_key_at_the_top_counts_for_every_command_that_has_it(toml):
    path = toml('images = "photos"\nseed = 3\n')
    assert read_defaults(path, OPTIONS) == {"refine": {"images": "photos"}, "extract": {"images": "photos", "seed": 3}}


def test_a_table_wins_over_the_top_and_dashes_are_underscores(toml):
    path = toml('images = "photos"\n[refine]\nimages = "others"\nnms-threshold = 0.55\n')
    assert read_defaults(path, OPTIONS)["refine"] == {"images": "others", "nms_threshold": 0.55}


def test_one_value_of_an_option_that_may_be_repeated_is_a_list_of_one(toml):
    path = toml('model = "a"\n[extract]\nresults = "b"\n')
    assert read_defaults(path, OPTIONS) == {"refine": {"model": ["a"]}, "extract": {"results": ["b"]}}


def test_a_list_at_the_top_counts_where_the_option_may_be_repeated(toml):
    options = {**OPTIONS, "export": {"model": False}}
    assert read_defaults(toml('model = ["a", "b"]'), options) == {"refine": {"model": ["a", "b"]}}
    assert read_defaults(toml('model = "a"'), options)["export"] == {"model": "a"}


@pytest.mark.parametrize("text", ["nms-threshold = 0.5\nnms_threshold = 0.5", "nms_threshold = 1\nnms-threshold = 0.5"])
def test_an_option_set_twice_is_refused(toml, text):
    with pytest.raises(InputError, match="twice"):
        read_defaults(toml("[refine]\n" + text), OPTIONS)


@pytest.mark.parametrize("text", ['images = ["a"]', '[refine]\nimages = ["a"]', "[refine.images]\na = 1"])
def test_a_list_for_an_option_that_takes_one_value_is_refused(toml, text):
    with pytest.raises(InputError, match="takes one value"):
        read_defaults(toml(text), OPTIONS)


@pytest.mark.parametrize(
    ("text", "named"),
    [("[refin]\nimages = 'x'", "refin"), ("[refine]\nimage = 'x'", "image"), ("sed = 3", "sed"), ("a = ", "TOML")],
)
def test_what_does_not_exist_is_named(toml, text, named):
    with pytest.raises(InputError, match=named) as caught:
        read_defaults(toml(text), OPTIONS)
    assert "bpr.toml" in str(caught.value)


ALIASED = {**OPTIONS, "evaluate": {"gt": False, "fail_below": True}, "eval": {"gt": False, "fail_below": True}}
ALIASES = {"eval": "evaluate"}


@pytest.mark.parametrize(
    "text", ["[evaluate]\ngt = 'x'", "[eval]\ngt = 'x'", "gt = 'x'", "[evaluate]\ngt='x'\n[eval]\ngt='x'"]
)
def test_both_names_of_a_command_have_its_defaults(toml, text):
    assert read_defaults(toml(text), ALIASED, ALIASES) == {"evaluate": {"gt": "x"}, "eval": {"gt": "x"}}


def test_tables_of_both_names_are_joined(toml):
    path = toml("gt = 'top'\n[evaluate]\ngt = 'x'\n[eval]\nfail-below = 'ap=0.1'")
    assert read_defaults(path, ALIASED, ALIASES)["eval"] == {"gt": "x", "fail_below": ["ap=0.1"]}


@pytest.mark.parametrize("tables", [("evaluate", "eval"), ("eval", "evaluate")])
def test_tables_of_both_names_that_differ_are_refused(toml, tables):
    path = toml("".join(f"[{table}]\ngt = '{table}.json'\n" for table in tables))
    with pytest.raises(InputError, match=rf"\[{tables[1]}\] and \[{tables[0]}\] are one command, and set gt"):
        read_defaults(path, ALIASED, ALIASES)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "bpr.toml").mkdir()
    with pytest.raises(InputError, match=r"bpr.toml: cannot be read"):
        read_defaults(tmp_path / "bpr.toml", OPTIONS)
