"""JSON as people keep it: compressed, and one record a line."""

from __future__ import annotations

import gzip
import json

import pytest

from bpr_cli.errors import InputError
from bpr_cli.formats import check_output, read_results, with_masks_as, write_results

RECTANGLE = [[2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0]]
RLE = {"size": [6, 8], "counts": "=3300000;"}
RECORDS = [
    {"image_id": 7, "category_id": 1, "score": 0.5, "segmentation": RLE, "note": "naïve\u2028line"},
    {"image_id": 7, "category_id": 1, "score": 0.25, "segmentation": RECTANGLE},
]
TEXT = json.dumps(RECORDS).encode()
LINES = "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in RECORDS).encode()
FORMS = {
    "list.json": TEXT,
    "list.json.gz": gzip.compress(TEXT),
    "lines.jsonl": LINES,
    "lines.jsonl.gz": gzip.compress(LINES),
    "two_members.json.gz": gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:]),
    "spaced.ndjson": b"\xef\xbb\xbf\n" + LINES.replace(b"\n", b"\r\n\r\n"),
}


@pytest.mark.parametrize("name", FORMS)
def test_each_form_is_the_same_records(tmp_path, name):
    (tmp_path / name).write_bytes(FORMS[name])
    (entry,) = read_results(tmp_path / name).images
    assert [instance.fields for instance in entry.instances] == RECORDS


@pytest.mark.parametrize("name", ["out.json", "out.json.gz", "out.jsonl", "out.JSONL", "out.ndjson"])
def test_the_name_of_the_output_tells_its_form(tmp_path, name):
    (tmp_path / "in.json").write_bytes(FORMS["list.json"])
    write_results(read_results(tmp_path / "in.json"), [None, None], tmp_path / name)
    data = (tmp_path / name).read_bytes()
    if name.lower().endswith(".gz"):
        data = gzip.decompress(data)
    is_lines = "jsonl" in name.lower() or "ndjson" in name
    found = [json.loads(line) for line in data.decode().split("\n") if line] if is_lines else json.loads(data)
    assert found == RECORDS


def test_the_same_results_are_the_same_compressed_file(tmp_path):
    (tmp_path / "in.json").write_bytes(FORMS["list.json"])
    for name in ("a.json.gz", "b.json.gz"):
        write_results(read_results(tmp_path / "in.json"), [None, None], tmp_path / name)
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


def test_a_dataset_is_no_list_for_lines(tmp_path):
    (tmp_path / "in.json").write_text(json.dumps({"images": [], "annotations": []}))
    with pytest.raises(InputError, match="not a dataset"):
        check_output(read_results(tmp_path / "in.json"), tmp_path / "out.jsonl")


BROKEN = {
    "archive is cut off": FORMS["list.json.gz"][:-12],
    "archive is broken": FORMS["list.json.gz"][:40] + b"\x00" * 40 + FORMS["list.json.gz"][80:],
    "line 2 is not valid JSON": LINES[:-20] + b"\n",
    "not a text file in UTF-8": LINES[:-20] + b"\xff\n",
    "line 3: an object has the key 'a'": LINES + b'{"a": 1, "a": 2}\n',
    "more than any JSON": gzip.compress(b"[" + b" " * (80 << 20) + b"]"),
}


@pytest.mark.parametrize("says", BROKEN)
def test_broken_files_are_refused(tmp_path, says):
    (tmp_path / "in").write_bytes(BROKEN[says])
    with pytest.raises(InputError, match=says):
        read_results(tmp_path / "in")


@pytest.mark.parametrize(("form", "kinds"), [("same", [dict, list]), ("rle", [dict, dict]), ("polygons", [list, list])])
def test_masks_are_written_in_the_form_asked_for(tmp_path, form, kinds):
    (tmp_path / "in.json").write_bytes(FORMS["list.json"])
    write_results(with_masks_as(read_results(tmp_path / "in.json"), form), [RLE, RLE], tmp_path / "out.json")
    records = json.loads((tmp_path / "out.json").read_text())
    assert [type(record["segmentation"]) for record in records] == kinds
    for record in records:
        if isinstance(record["segmentation"], list):
            assert len(record["segmentation"]) == 1
