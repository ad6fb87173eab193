"""What records of other programs write into ids, sizes and classes: read, or refused by the type's name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bpr_cli.errors import InputError
from bpr_cli.formats import read_results, write_results
from bpr_cli.formats.coco import read_image_info, with_image_info
from bpr_cli.formats.rle import encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import crop_mask, to_frame

FRAME = np.eye(10, 12, dtype=np.uint8)
MASK = encode_rle(crop_mask(FRAME, 0, 0, 10, 12))
RECORD = {"image_id": 139, "category_id": 1, "score": 0.5, "segmentation": MASK}


def dataset(annotation=(), image=(), **changes):
    document = {
        "images": [{"id": 139, "file_name": "a.jpg", "height": 10, "width": 12, **dict(image)}],
        "annotations": [{"id": 1, "image_id": 139, "category_id": 1, "segmentation": MASK, **dict(annotation)}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    return {**document, **changes}


@pytest.fixture
def read(tmp_path):
    def read(document, **options):
        path = tmp_path / "in.json"
        path.write_text(json.dumps(document))
        return read_results(path, **options)

    return read


@pytest.mark.parametrize("image_id", [139, 139.0, "139"])
def test_ids_of_one_number_are_one_id_whatever_their_type(read, image_id):
    results = read(dataset({"image_id": image_id}))
    assert [len(entry.instances) for entry in results.images] == [1]
    assert read(dataset(image={"id": image_id})).images[0].instances


def test_ids_that_only_look_alike_are_not_and_the_error_names_their_types(read):
    with pytest.raises(InputError, match=r"image 0139.*it is a string, each of them an integer"):
        read(dataset({"image_id": "0139"}))


def test_image_info_and_results_may_write_ids_in_different_types(read, tmp_path):
    (tmp_path / "info.json").write_text(json.dumps({"images": [{"id": "139", "file_name": "b.jpg"}]}))
    results = with_image_info(read([RECORD]), read_image_info(tmp_path / "info.json"))
    assert results.images[0].image.file_name == "b.jpg"


@pytest.mark.parametrize("category", ["1", 1.0, 1])
def test_class_ids_are_read_from_strings_and_floats(read, category):
    results = read(dataset({"category_id": category}, categories=[{"id": category, "name": "cat"}]))
    assert results.images[0].instances[0].category_id == 1
    assert results.categories == {1: "cat"}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (dataset({"category_id": "cat"}), r"category id is 'cat' \(a string\)"),
        (dataset({"category_id": [1]}), r"category id is \[1\] \(a list\)"),
        (dataset({"category_id": 2**70}), "category id is"),
        (dataset(categories=[{"id": None}]), "id of category 0 is null"),
        (dataset(categories=[{"id": "cat"}]), r"id of category 0 is 'cat' \(a string\)"),
        (dataset(categories=[{"id": 1}, {"id": "1"}]), "category 1 is listed twice"),
        (dataset(categories={"1": "cat"}), r"categories is .* \(an object\), not a list"),
        (dataset(categories=["cat"]), r"category 0 is 'cat' \(a string\)"),
        (dataset(image={"height": 0}), "height is 0"),
        (dataset(image={"height": "tall"}), r"height is 'tall' \(a string\)"),
        (dataset(image={"width": True}), r"width is True \(a boolean\)"),
        (dataset(image={"width": 12.5}), "width is 12.5"),
        (dataset(image={"file_name": 7}), "file_name is 7"),
        (dataset(images=[{"id": 139}, {"id": "139"}]), "image 139: the image is listed twice"),
        ([{**RECORD, "file_name": ["a.jpg"]}], r"file_name is \['a.jpg'\] \(a list\)"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_type(read, document, says):
    with pytest.raises(InputError, match=says) as refused:
        read(document)
    assert refused.value.remedy


@pytest.mark.parametrize("sides", [(10, 12), (10.0, 12.0), ("10", "12"), ("10.0", "12")])
def test_sizes_are_read_from_strings_and_floats(read, sides):
    image = read(dataset(image={"height": sides[0], "width": sides[1]})).images[0].image
    assert (image.height, image.width) == (10, 12)
    results = read([{**RECORD, "segmentation": {**MASK, "size": list(sides)}}])
    assert np.array_equal(to_frame(decode_mask(results.images[0].instances[0], 10, 12)), FRAME)


def test_one_id_with_two_file_names_is_refused_even_where_bad_records_are_skipped(read):
    records = [{**RECORD, "file_name": "0001.png"}, {**RECORD, "file_name": "1.png"}]
    for skip_bad in (False, True):
        with pytest.raises(InputError, match=r"annotation 1: its file_name is 1\.png.*0001\.png"):
            read(records, skip_bad=skip_bad)
    assert read([{**RECORD, "file_name": "0001.png"}, RECORD]).images[0].image.file_name == "0001.png"


def test_a_key_written_twice_is_refused(tmp_path):
    (tmp_path / "in.json").write_text('[{"image_id": 1, "image_id": 2, "segmentation": [[1, 2, 3, 4, 5, 6]]}]')
    with pytest.raises(InputError, match=r"the key 'image_id'.*twice"):
        read_results(tmp_path / "in.json")


def test_a_file_that_ends_too_early_is_told_from_one_that_is_wrong(tmp_path):
    text = json.dumps([RECORD, RECORD])
    for end in (len(text) // 2, len(text) - 1, len(text) - len(MASK["counts"]) // 2 - 20):
        (tmp_path / "in.json").write_text(text[:end])
        with pytest.raises(InputError, match="ends too early"):
            read_results(tmp_path / "in.json")
    (tmp_path / "in.json").write_text(text.replace(",", ";", 1))
    with pytest.raises(InputError, match=r"line 1.*Write the file again\.$"):
        read_results(tmp_path / "in.json")


def test_bad_records_and_images_are_skipped_counted_apart_and_written_as_they_were(read, tmp_path):
    document = dataset(
        images=[{"id": 139}, {"id": 7, "height": "tall"}],
        annotations=[
            {"id": 1, "image_id": 139, "segmentation": MASK},
            {"id": 2, "image_id": 139, "segmentation": None},
            {"id": 3, "image_id": 7, "segmentation": MASK},
            {"id": 4, "image_id": 139, "segmentation": MASK, "iscrowd": "no"},
            "no record",
        ],
    )
    with pytest.raises(InputError):
        read(document)
    results = read(document, skip_bad=True)
    assert [instance.index for entry in results.images for instance in entry.instances] == [0]
    assert (results.skipped.images, results.skipped.instances) == (1, 4)
    assert str(results.skipped) == "1 image cannot be used, 4 instances left as they were"
    assert len(results.skipped.lines) == 5
    write_results(results, [MASK, None, None, None, None], tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == document


@pytest.mark.parametrize("field", ["neg_category_ids", "not_exhaustive_category_ids"])
@pytest.mark.parametrize("value", [None, 3, [[1]], ["1"]])
def test_lvis_classes_of_an_image_must_be_integers(read, field, value):
    categories = [{"id": 1, "name": "cat", "frequency": "f"}]
    with pytest.raises(InputError, match=f"image 139: its {field}"):
        read(dataset(image={field: value}, categories=categories))
    read(dataset(image={field: value}))  # elsewhere the field is somebody's own
