"""Cityscapes' folders as people write them; what is written names its own masks."""

from __future__ import annotations

import codecs

import pytest

from bpr_cli.errors import InputError
from bpr_cli.formats import read_results, write_results
from bpr_cli.notices import InputWarning
from tests.cityscapes_made import Made, make

FIRST = "aachen_000000_000019"


@pytest.fixture
def made(tmp_path) -> Made:
    return make(tmp_path / "made")


def text_file(made):
    return made.results / f"{FIRST}_pred.txt"


def written(made, out):
    results = read_results(made.results)
    write_results(results, [None] * results.count, out)
    return (out / f"{FIRST}_pred.txt").read_text(encoding="utf-8")


def test_a_text_that_is_plain_is_written_as_it_was(made, tmp_path):
    assert written(made, tmp_path / "out") == text_file(made).read_text()


@pytest.mark.parametrize("form", ["absolute", "backslashes", "dots"])
def test_masks_are_named_relative_to_the_text_in_the_output(made, tmp_path, form):
    (made.results / "masks").mkdir()
    lines = []
    for line in text_file(made).read_text().splitlines():
        name, label, score = line.split()
        mask = (made.results / name).rename(made.results / "masks" / name)
        named = {"absolute": str(mask), "backslashes": f"masks\\{name}", "dots": f"./masks/{name}"}[form]
        lines.append(f"{named} {label} {score}\n")
    text_file(made).write_text("".join(lines))
    text = written(made, tmp_path / "out")
    assert str(made.results) not in text
    assert "\\" not in text
    for line in text.splitlines():
        assert (tmp_path / "out" / line.split()[0]).is_file()
    assert read_results(tmp_path / "out").count == read_results(made.results).count


def test_a_text_that_is_no_result_is_left_out_and_that_is_said(made, tmp_path):
    count = read_results(made.results).count
    (made.results / "README.txt").write_text("Made with\nfrankfurt_0.png 26 0.9\n")
    (made.results / "empty.txt").write_text("")
    (made.results / ".hidden.txt").write_text("x.png 26 0.9\n")
    with pytest.warns(InputWarning, match="no text file of results"):
        assert read_results(made.results).count == count


def test_results_under_a_name_that_tells_no_image_are_still_refused(made):
    text_file(made).rename(made.results / "first.txt")
    with pytest.raises(InputError, match="tells no image"):
        read_results(made.results)


def test_a_folder_of_other_texts_is_no_folder_of_results(tmp_path):
    (tmp_path / "README.txt").write_text("Hello\n")
    with pytest.raises(InputError, match="holds neither"):
        read_results(tmp_path)


@pytest.mark.parametrize(("mark", "encoding"), [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le")])
def test_a_byte_order_mark_is_understood(made, tmp_path, mark, encoding):
    before = read_results(made.results)
    text = text_file(made).read_text()
    text_file(made).write_bytes(mark + text.encode(encoding))
    assert read_results(made.results).images == before.images
    assert written(made, tmp_path / "out") == text


@pytest.mark.parametrize("letter", ["\0", "\x01", "\x1b"])
def test_control_characters_are_damage(made, letter):
    text = text_file(made).read_text()
    text_file(made).write_text(text[:6] + letter + text[6:])
    with pytest.raises(InputError, match=r"line 1: .* control characters"):
        read_results(made.results)


def test_instance_ids_of_too_many_pixels_are_refused(made):
    with pytest.raises(InputError, match="--max-pixels"):
        read_results(made.gt, max_pixels=100)
