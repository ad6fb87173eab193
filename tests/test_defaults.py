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


@pytest.mark.parametrize("text", ['images = ["a"]', '[refine]\nimages = ["a"]'])
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
