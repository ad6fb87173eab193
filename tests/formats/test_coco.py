"""COCO JSON in and out."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from bpr_cli.errors import InputError
from bpr_cli.formats import read_results, with_masks_as, write_results
from bpr_cli.formats.coco import read_image_info, with_image_info
from bpr_cli.formats.rle import encode_rle
from bpr_cli.masks import crop_mask

POLYGON = [[2.0, 2.0, 8.0, 2.0, 8.0, 8.0]]


def new_mask():
    frame = np.zeros((10, 12), np.uint8)
    frame[1:4, 5:11] = 1
    return encode_rle(crop_mask(frame, 0, 0, 10, 12))


def detection(**changes):
    record = {"image_id": 1, "category_id": 3, "score": 0.5, "bbox": [2, 2, 6, 6], "segmentation": POLYGON}
    return {**record, **changes}


def dataset(**changes):
    document = {
        "info": {"by": "us"},
        "images": [{"id": 1, "file_name": "a.jpg", "height": 10, "width": 12}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"id": 7, "image_id": 1, "category_id": 3, "segmentation": POLYGON, "area": 1, "iscrowd": 0}],
        "categories": [{"id": 3, "name": "cat"}],
        "ours": [1],
    }
    return {**document, **changes}


@pytest.fixture
def saved(tmp_path):
    def save(document):
        path = tmp_path / "input.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return save


def test_a_list_is_results_and_a_dict_is_a_dataset(saved):
    results = read_results(saved([detection(image_id=5), detection(), detection(image_id=5)]))
    assert results.kind == "coco-results"
    assert [(entry.image.id, [i.index for i in entry.instances]) for entry in results.images] == [(5, [0, 2]), (1, [1])]
    truth = read_results(saved(dataset()))
    assert truth.kind == "coco-dataset"
    assert truth.images[0].image.file_name == "a.jpg"
    assert (truth.images[0].image.height, truth.images[0].image.width) == (10, 12)
    assert [len(entry.instances) for entry in truth.images] == [1, 0]
    assert truth.categories == {3: "cat"}


def test_the_size_of_an_image_is_that_of_its_rle(saved):
    image = read_results(saved([detection(), detection(segmentation=new_mask())])).images[0].image
    assert (image.height, image.width) == (10, 12)


def test_bbox_and_score_may_be_absent(saved, tmp_path):
    record = {"image_id": "a", "segmentation": POLYGON}
    results = with_masks_as(read_results(saved([record])), "rle")
    write_results(results, [new_mask()], tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == [{"image_id": "a", "segmentation": new_mask()}]


def test_what_is_written_follows_the_mask_and_keeps_the_rest(saved, tmp_path):
    path = saved([detection(area=1, extra={"a": [1]}), detection(image_id=2, track=9)])
    results = with_masks_as(read_results(path), "rle")
    before = copy.deepcopy(results.source.document)
    write_results(results, [new_mask(), None], tmp_path / "out.json")
    first, second = json.loads((tmp_path / "out.json").read_text())
    assert first == {
        **before[0], "segmentation": new_mask(), "bbox": [5.0, 1.0, 6.0, 3.0], "area": 18,
    }  # fmt: skip
    assert second == before[1]
    assert results.source.document == before


def test_a_dataset_keeps_its_form(saved, tmp_path):
    results = with_masks_as(read_results(saved(dataset())), "rle")
    write_results(results, [new_mask()], tmp_path / "out.json")
    expected = dataset()
    expected["annotations"][0].update(segmentation=new_mask(), area=18)
    assert json.loads((tmp_path / "out.json").read_text()) == expected


def test_an_empty_mask_has_an_empty_box(saved, tmp_path):
    empty = encode_rle(crop_mask(np.zeros((10, 12)), 0, 0, 10, 12))
    write_results(read_results(saved([detection(area=5)])), [empty], tmp_path / "out.json")
    (record,) = json.loads((tmp_path / "out.json").read_text())
    assert (record["bbox"], record["area"]) == ([0.0, 0.0, 0.0, 0.0], 0)


def test_empty_results_are_results(saved, tmp_path):
    results = read_results(saved([]))
    assert results.count == 0
    write_results(results, [], tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == []


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("", "line 1"),
        ('[{"image_id": 1,}]', "line 1, column"),
        ("7", "neither"),
        ({"a": 1}, "neither"),
        (["a"], "annotation 0"),
        ([detection(), {"image_id": 1}], "annotation 1"),
        ([{"segmentation": POLYGON}], "image_id is null or missing"),
        ([detection(image_id=1.5)], "image_id is 1.5"),
        ([detection(image_id=True)], "image_id is True"),
        ([detection(score="high")], "score is 'high'"),
        ('[{"image_id": 1, "segmentation": [[0,0,1,1,2,2]], "score": NaN}]', "score is nan"),
        ([detection(category_id="cat")], "category id"),
        (dataset(images=[{"id": 1}, {"id": 1}]), "listed twice"),
        (dataset(images=[{"id": 1, "height": 0, "width": 3}]), "height is 0"),
        (dataset(images=[{"id": 1, "height": 3, "width": "3px"}]), r"width is '3px' \(a string\)"),
        (dataset(images=[{"file_name": "a.jpg"}]), r"images\[0\]"),
        (dataset(images=[7]), r"images\[0\]"),
        (dataset(annotations={}), "not a list"),
        (dataset(annotations=[detection(image_id=9)]), "image 9, annotation 0"),
        (dataset(categories=[{"name": "cat"}]), "category"),
    ],
)
def test_what_is_broken_is_named_with_file_and_place(saved, document, says):
    path = saved(document)
    with pytest.raises(InputError, match=says) as caught:
        read_results(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.json.*No such file"):
        read_results(tmp_path / "nowhere.json")
    (tmp_path / "model.bin").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError, match="this is a JPEG image"):
        read_results(tmp_path / "model.bin")
    (tmp_path / "model.bin").write_bytes(b"\xff\x01\x02\x03")
    with pytest.raises(InputError, match="not a text file"):
        read_results(tmp_path / "model.bin")


def test_masks_of_two_sizes_leave_the_size_to_the_photo(saved):
    other = {"size": [3, 3], "counts": "9"}
    (entry,) = read_results(saved([detection(segmentation=new_mask()), detection(segmentation=other)])).images
    assert (entry.image.height, entry.image.width) == (None, None)


def test_image_info_gives_results_their_file_names(saved, tmp_path):
    (tmp_path / "info.json").write_text(json.dumps(dataset(annotations=[])))
    results = with_image_info(read_results(saved([detection()])), read_image_info(tmp_path / "info.json"))
    assert results.images[0].image.file_name == "a.jpg"
    with pytest.raises(InputError, match="image 4"):
        with_image_info(read_results(saved([detection(image_id=4)])), read_image_info(tmp_path / "info.json"))


def test_a_file_name_in_a_detection_is_used(saved):
    assert read_results(saved([detection(file_name="c.jpg")])).images[0].image.file_name == "c.jpg"
