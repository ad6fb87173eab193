"""Parquet tables of results in and out: new masks in the columns' own types, all other columns as they were."""

from __future__ import annotations

import datetime
import json
import sys

import numpy as np
import pytest

from bpr_cli.errors import InputError
from bpr_cli.formats import check_output, read_results, with_masks_as, write_results
from bpr_cli.formats.rle import encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import Mask, bbox_xywh
from tests.conftest import run_bpr

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

HEIGHT, WIDTH = 6, 8
RLE = {"size": [HEIGHT, WIDTH], "counts": "=3300000;"}  # x 2..6, y 1..4
RUNS = {"size": [HEIGHT, WIDTH], "counts": [13, 3, 3, 3, 3, 3, 3, 3, 14]}
POLYGONS = [[2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0]]
COLUMN = pa.list_(pa.int32())
FORMS = {
    "text counts": (RLE, pa.struct([("size", COLUMN), ("counts", pa.string())])),
    "bytes counts": ({**RLE, "counts": b"=3300000;"}, pa.struct([("size", COLUMN), ("counts", pa.binary())])),
    "run lengths": (RUNS, pa.struct([("counts", pa.list_(pa.int64())), ("size", COLUMN)])),
    "polygons": (POLYGONS, pa.list_(pa.list_(pa.float32()))),
    "text of polygons": (json.dumps(POLYGONS), pa.large_string()),
    "text of RLE": (json.dumps(RLE), pa.string()),
}
MASK = Mask(np.ones((4, 5), np.uint8), 1, 2, HEIGHT, WIDTH)  # another one


def save(path, segmentations, kind, **columns):
    count = len(segmentations)
    table = {
        "image_id": pa.array([139] * count, pa.int64()),
        "segmentation": pa.array(segmentations, kind),
        "category_id": pa.array([1] * count, pa.int16()),
        "score": pa.array([0.5] * count, pa.float32()),
        **columns,
    }
    pq.write_table(pa.table(table).replace_schema_metadata({"by": "me"}), path, compression="zstd", row_group_size=2)


def masks_of(path):
    results = read_results(path)
    return [decode_mask(instance, HEIGHT, WIDTH) for entry in results.images for instance in entry.instances]


@pytest.mark.parametrize("form", FORMS)
def test_new_masks_go_into_the_column_as_it_is_and_nothing_else_changes(tmp_path, form):
    value, kind = FORMS[form]
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    when = pa.array([datetime.datetime(2020, 1, 2), None, datetime.datetime(2021, 1, 2)], pa.timestamp("ns"))
    save(
        path,
        [value] * 3,
        kind,
        bbox=pa.array([[2, 1, 4, 3]] * 3, pa.list_(pa.float32(), 4)),
        area=pa.array([12, None, 12], pa.int32()),
        when=when,
        name=pa.array(["a", None, "b"]).dictionary_encode(),
    )
    assert all(np.array_equal(mask.pixels_HW, np.ones((3, 4))) for mask in masks_of(path))
    write_results(read_results(path), [encode_rle(MASK), None, None], out)
    before, after = pq.read_table(path), pq.read_table(out)
    assert after.schema.equals(before.schema, check_metadata=True)
    for name in ("image_id", "category_id", "score", "when", "name"):
        assert after[name].equals(before[name])
    for name in ("segmentation", "bbox", "area"):
        assert after[name][1:].to_pylist() == before[name][1:].to_pylist()
    assert after["bbox"][0].as_py() == bbox_xywh(MASK)
    assert after["area"][0].as_py() == MASK.area
    new, *old = masks_of(out)
    assert (new.x1, new.y1) == (MASK.x1, MASK.y1)
    assert np.array_equal(new.pixels_HW, MASK.pixels_HW)
    assert all(np.array_equal(mask.pixels_HW, np.ones((3, 4))) for mask in old)
    about = pq.ParquetFile(out).metadata
    assert (about.num_row_groups, about.row_group(0).column(0).compression) == (2, "ZSTD")


def test_rows_say_the_same_as_records_of_json(tmp_path):
    _, kind = FORMS["text counts"]
    save(tmp_path / "in.parquet", [RLE], kind, file_name=pa.array(["a.jpg"]), iscrowd=pa.array([None], pa.int8()))
    (entry,) = read_results(tmp_path / "in.parquet").images
    assert (entry.image.id, entry.image.file_name, entry.image.height) == (139, "a.jpg", HEIGHT)
    (instance,) = entry.instances
    assert (instance.category_id, instance.score, instance.segmentation) == (1, 0.5, RLE)
    assert "iscrowd" not in instance.fields


def test_a_mask_that_no_polygon_can_outline_leaves_its_row_as_it_was(tmp_path):
    value, kind = FORMS["polygons"]
    save(tmp_path / "in.parquet", [value], kind, area=pa.array([12]))
    empty = encode_rle(Mask(np.zeros((0, 0), np.uint8), 0, 0, HEIGHT, WIDTH))
    with pytest.warns(UserWarning, match="no polygon can outline"):
        write_results(read_results(tmp_path / "in.parquet"), [empty], tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").equals(pq.read_table(tmp_path / "in.parquet"))


def test_a_bad_row_is_named_or_skipped_and_stays(tmp_path):
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    save(path, [json.dumps(RLE), "nonsense", None], pa.string())
    with pytest.raises(InputError, match=r"in\.parquet, image 139, annotation 2: there is no segmentation"):
        read_results(path)
    results = read_results(path, skip_bad=True)
    assert results.skipped.instances == 1
    write_results(results, [encode_rle(MASK), None, None], out)
    assert pq.read_table(out)["segmentation"][1:].to_pylist() == ["nonsense", None]


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"image_id": [1]}, "there is no column segmentation"),
        ({"segmentation": [RLE]}, "there is no column image_id"),
        ({"image_id": [1], "segmentation": [[1, 2]]}, r"segmentation is of the type list<.*int64>"),
        ({"image_id": [1], "segmentation": [[[1, 2, 3, 4, 5, 6]]]}, r"of the type list<.*Write .* polygons in floats"),
        ({"image_id": [1], "segmentation": [RLE], "bbox": ["2 1 4 3"]}, "bbox is of the type string"),
        ({"image_id": [1], "segmentation": [RLE], "area": ["12"]}, "area is of the type string"),
        ({"image_id": [float("nan")], "segmentation": [RLE]}, "its image_id is nan"),
    ],
)
def test_columns_that_cannot_be_used_are_called_by_name(tmp_path, columns, problem):
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=problem):
        read_results(tmp_path / "in.parquet")


@pytest.mark.parametrize("keep", [4, 100, -5])
def test_a_broken_table_is_called_so(tmp_path, keep):
    save(tmp_path / "in.parquet", [RLE], FORMS["text counts"][1])
    (tmp_path / "in.parquet").write_bytes((tmp_path / "in.parquet").read_bytes()[:keep])
    with pytest.raises(InputError, match="not a Parquet table that can be read"):
        read_results(tmp_path / "in.parquet")


def test_the_output_is_named_as_what_it_is(tmp_path):
    save(tmp_path / "in.parquet", [RLE], FORMS["text counts"][1])
    (tmp_path / "in.json").write_text(json.dumps([{"image_id": 139, "segmentation": RLE}]))
    with pytest.raises(InputError, match="a Parquet table is written as one"):
        check_output(read_results(tmp_path / "in.parquet"), tmp_path / "out.json")
    with pytest.raises(InputError, match="JSON is written as JSON"):
        check_output(read_results(tmp_path / "in.json"), tmp_path / "out.parquet")
    with pytest.raises(InputError, match="not as polygons"):
        with_masks_as(read_results(tmp_path / "in.parquet"), "polygons")


def test_without_pyarrow_the_error_names_what_to_install(tmp_path, monkeypatch):
    save(tmp_path / "in.parquet", [RLE], FORMS["text counts"][1])
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"needs pyarrow\. pip install .*\[parquet\]"):
        read_results(tmp_path / "in.parquet")


def test_the_command_line_refines_a_table_as_it_does_json(three_photos, small_model, tmp_path):
    records = json.loads(three_photos.results.read_text())
    (tmp_path / "parts").mkdir()
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "parts" / "a.parquet")
    options = ["--images", three_photos.images, "--image-info", three_photos.gt, "--model", small_model]
    options += ["--passes", 1, "--quiet", "--device", "cpu", "--caution", 0.05]
    for source, out in (
        (three_photos.results, "out.json"),
        (tmp_path / "parts" / "a.parquet", "out.parquet"),
        (tmp_path / "parts", "out"),
    ):
        done = run_bpr("refine", source, "-o", tmp_path / out, *options)
        assert done.returncode == 0, done.stderr
    refined = json.loads((tmp_path / "out.json").read_text())
    assert refined != records
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == refined
    assert pq.read_table(tmp_path / "out" / "a.parquet").to_pylist() == refined
    refused = run_bpr("refine", tmp_path / "parts", "-o", tmp_path / "no", *options, "--masks", "rle")
    assert "masks are written here as they were read" in refused.stderr
