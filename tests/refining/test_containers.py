"""What other libraries hold detections in goes in and comes out: new masks, boxes that follow, all else as it was.

The real ultralytics and supervision are used where they are installed.
"""

from __future__ import annotations

import copy
import importlib

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bpr_cli.errors import InputError
from bpr_cli.refining.containers import open_container
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from tests.refining import containers_made

HEIGHT, WIDTH = 90, 120
PHOTO = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
MASKS = np.zeros((3, HEIGHT, WIDTH), bool)
MASKS[0, 20:60, 30:70] = True
MASKS[1, 30:80, 60:100] = True  # MASKS[2] is empty: it stays so
SCORES = np.array([0.9, 0.25, 0.5], np.float32)
LOOSE = np.array([[28.5, 18.25, 71, 63], [60, 30, 100, 80], [5, 6, 7, 8]], np.float32)


@pytest.fixture(scope="module")
def refiner(small_model):
    return Refiner.from_pretrained(small_model, "cpu", "fp32", engine="torch", caution=0.0, passes=1)


@pytest.fixture(scope="module")
def expected(refiner):
    refined = refiner.refine(PHOTO, MASKS, SCORES)
    assert (refined != MASKS).any((1, 2)).tolist() == [True, True, False]
    return refined


def tight(masks, last=0):
    """Plainly: the box of each mask's foreground, one past its last pixel or, with last=1, on it."""
    boxes = []
    for mask in masks:
        rows, columns = np.nonzero(mask)
        boxes.append((columns.min(), rows.min(), columns.max() + 1 - last, rows.max() + 1 - last))
    return np.array(boxes, np.float32)


def ultralytics_results():
    """The real class where it is installed."""
    try:
        return importlib.import_module("ultralytics.engine.results").Results
    except ImportError:
        return containers_made.Results


def results_of(masks, photo=PHOTO, dtype=torch.uint8):
    rows = np.column_stack((LOOSE[: len(masks)], SCORES[: len(masks)], np.arange(len(masks))))
    return ultralytics_results()(
        photo[..., ::-1].copy(), "photo.jpg", {0: "a", 1: "b", 2: "c"},
        boxes=torch.tensor(rows, dtype=torch.float32), masks=torch.tensor(masks).to(dtype),
    )  # fmt: skip


def check_boxes(boxes, expected):
    boxes = np.asarray(boxes)
    assert np.array_equal(boxes[:2], tight(expected[:2]))
    assert np.array_equal(boxes[2], LOOSE[2])  # its mask did not change


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bool, torch.uint8])
def test_torchvisions_dict(refiner, expected, dtype):
    probabilities = torch.from_numpy(np.where(MASKS, 0.51, 0.5)[:, None])
    masks = probabilities.to(dtype) if dtype.is_floating_point else torch.from_numpy(MASKS[:, None]).to(dtype)
    given_dict = {
        "boxes": torch.from_numpy(LOOSE),
        "labels": torch.tensor([3, 1, 2]),
        "scores": torch.from_numpy(SCORES),
        "masks": masks,
    }
    before = copy.deepcopy(given_dict)
    refined = refiner.refine(PHOTO, given_dict)
    assert list(refined) == list(given_dict)
    assert refined["masks"].dtype == dtype
    assert refined["masks"].shape == (3, 1, HEIGHT, WIDTH)
    assert np.array_equal(refined["masks"][:, 0].numpy() == 1, expected)
    assert refined["labels"] is given_dict["labels"]
    assert refined["boxes"].dtype == torch.float32
    check_boxes(refined["boxes"], expected)
    assert all(torch.equal(given_dict[name], before[name]) for name in before)


def test_detectron2s_instances(refiner, expected):
    instances = containers_made.Instances(
        (HEIGHT, WIDTH),
        pred_boxes=containers_made.Boxes(LOOSE),
        scores=torch.from_numpy(SCORES),
        pred_classes=torch.tensor([1, 0, 7]),
        pred_masks=torch.from_numpy(MASKS.copy()),
    )
    refined = refiner.refine(PHOTO, instances)
    assert type(refined) is containers_made.Instances
    assert list(refined.get_fields()) == list(instances.get_fields())
    assert refined.pred_masks.dtype == torch.bool
    assert np.array_equal(refined.pred_masks.numpy(), expected)
    assert torch.equal(refined.pred_classes, instances.pred_classes)
    check_boxes(refined.pred_boxes.tensor, expected)
    assert np.array_equal(instances.pred_masks.numpy(), MASKS)
    assert np.array_equal(instances.pred_boxes.tensor.numpy(), LOOSE)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_ultralytics_results(refiner, expected, dtype):
    results = results_of(MASKS, dtype=dtype)
    boxes = results.boxes.data.clone()
    refined = refiner.refine(PHOTO, results)
    assert type(refined) is type(results)
    assert refined.masks.data.dtype == dtype
    assert np.array_equal(refined.masks.data.numpy() == 1, expected)
    check_boxes(refined.boxes.xyxy, expected)
    assert torch.equal(refined.boxes.data[:, 4:], boxes[:, 4:])
    assert torch.equal(results.boxes.data, boxes)
    assert np.array_equal(results.masks.data.numpy() != 0, MASKS)
    assert (refined.path, refined.names) == (results.path, results.names)


@settings(max_examples=60, deadline=None)
@given(st.integers(40, 700), st.integers(40, 700), st.sampled_from([160, 320, 640]), st.integers(0, 2**32 - 1))
def test_masks_of_a_letterboxed_input_come_back_where_they_were(height, width, side, seed):
    """A mask put into the bars as LetterBox does lies where it did, within a pixel of the coarser grid."""
    random = np.random.default_rng(seed)
    x1, y1 = random.integers(0, width // 2), random.integers(0, height // 2)
    frame = np.zeros((height, width), np.uint8)
    frame[y1 : y1 + height // 3, x1 : x1 + width // 3] = 1
    scale = min(side / height, side / width)
    inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
    pad_x, pad_y = (side - inner_width) / 2, (side - inner_height) / 2
    boxed = cv2.copyMakeBorder(
        cv2.resize(frame, (inner_width, inner_height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR),
        round(pad_y - 0.1), round(pad_y + 0.1), round(pad_x - 0.1), round(pad_x + 0.1), cv2.BORDER_CONSTANT,
    )  # fmt: skip
    assert boxed.shape == (side, side)
    photo = np.zeros((height, width, 3), np.uint8)
    opened = open_container(results_of(boxed[None], photo), photo)
    assert opened.masks_NHW.shape == (1, height, width)
    reach = int(np.ceil(1 / scale)) + 1
    square = np.ones((2 * reach + 1,) * 2, np.uint8)
    found = opened.masks_NHW[0]
    assert not (found & (cv2.dilate(frame, square) == 0)).any()
    assert found[cv2.erode(frame, square) == 1].all()


def test_ultralytics_own_picture_is_bgr_and_is_refused(refiner):
    results = results_of(MASKS)
    with pytest.raises(InputError, match=r"BGR. Give results.orig_img\[..., ::-1\]"):
        refiner.refine(results.orig_img, results)
    with pytest.raises(InputError, match=r"photo of \(90, 120\), the image is \(50, 120\)"):
        refiner.refine(PHOTO[:50], results)


def test_supervisions_detections(refiner, expected):
    sv = pytest.importorskip("supervision")
    for boxes, last in ((LOOSE, 0), (sv.mask_to_xyxy(MASKS), 1)):
        detections = sv.Detections(
            xyxy=boxes, mask=MASKS.copy(), confidence=SCORES, class_id=np.array([4, 5, 6]),
            tracker_id=np.array([1, 2, 3]), data={"class_name": np.array(["a", "b", "c"])}, metadata={"video": 1},
        )  # fmt: skip
        before = copy.deepcopy(detections)
        for held in (detections, detections.to_compact_masks()):
            refined = refiner.refine(PHOTO, held)
            assert type(refined) is sv.Detections
            assert type(refined.mask) is type(held.mask)
            assert np.array_equal(np.asarray(refined.mask), expected)
            assert refined.xyxy.dtype == boxes.dtype
            assert np.array_equal(refined.xyxy[:2], tight(expected[:2], last))
            assert np.array_equal(refined.xyxy[2], boxes[2])
            for name in ("confidence", "class_id", "tracker_id"):
                assert np.array_equal(getattr(refined, name), getattr(before, name))
            assert refined.data.keys() == before.data.keys()
            assert refined.metadata == before.metadata
        assert detections == before


def test_detections_of_supervision_without_masks(refiner):
    sv = pytest.importorskip("supervision")
    with pytest.raises(InputError, match="Detections have 3 boxes and no masks"):
        refiner.refine(PHOTO, sv.Detections(xyxy=LOOSE))
    assert len(refiner.refine(PHOTO, sv.Detections.empty())) == 0


def test_supervision_reads_ultralytics_masks_to_the_same_place():
    sv = pytest.importorskip("supervision")
    pytest.importorskip("ultralytics")
    small = np.zeros((2, 64, 64), np.uint8)
    small[0, 20:40, 10:50], small[1, 10:30, 30:60] = 1, 1
    results = results_of(small)
    ours, theirs = open_container(results, PHOTO).masks_NHW, sv.Detections.from_ultralytics(results).mask
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.95


@pytest.mark.parametrize(
    ("detections", "says"),
    [
        ({"boxes": LOOSE, "scores": SCORES}, "the dict has boxes, scores, no masks"),
        ({"instances": None}, 'Give what is under "instances"'),
        ({}, "nothing, no masks"),
        ([{"masks": MASKS}, {"masks": MASKS}], r"2 photos in a list. Give results\[0\]"),
        ({"masks": MASKS * 7.5}, "from 0 to 7.5, so they are no probabilities"),
        ({"masks": MASKS[:, :50]}, r"the masks are \(3, 50, 120\)"),
        (containers_made.Instances((9, 9), scores=SCORES), "Instances have 3 boxes and no masks"),
        (containers_made.Results(PHOTO[..., ::-1], "", {}, boxes=torch.zeros(2, 6)), "Results have 2 boxes and no"),
    ],
)
def test_what_has_no_usable_masks_is_refused_in_one_line(refiner, detections, says):
    with pytest.raises(InputError, match=says) as error:
        refiner.refine(PHOTO, detections)
    assert "\n" not in str(error.value)


def test_nothing_detected_stays_nothing(refiner):
    results = containers_made.Results(PHOTO[..., ::-1], "", {}, boxes=torch.zeros(0, 6))
    refined = refiner.refine(PHOTO, results)
    assert refined.masks is None
    assert refined is not results
    empty = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "masks": torch.zeros(0, 1, HEIGHT, WIDTH)}
    assert refiner.refine(PHOTO, empty)["masks"].shape == (0, 1, HEIGHT, WIDTH)


def test_scores_come_from_the_container_alone(small_model):
    cautious = Refiner.from_pretrained(
        small_model, "cpu", "fp32", RefineSettings(passes=1, caution=0.0, min_score=0.3), "torch"
    )
    refined = cautious.refine(PHOTO, {"masks": MASKS, "scores": SCORES})["masks"]
    assert (refined != MASKS).any((1, 2)).tolist() == [True, False, False]
    with pytest.raises(InputError, match="scores would not be used beside detections that have scores"):
        cautious.refine(PHOTO, {"masks": MASKS, "scores": SCORES}, SCORES)
    by_argument = cautious.refine(PHOTO, {"masks": MASKS}, SCORES)["masks"]
    assert np.array_equal(by_argument, refined)


def test_probabilities_come_beside_a_container(refiner, expected):
    refined, probabilities = refiner.refine(PHOTO, {"masks": MASKS, "scores": SCORES}, return_probabilities=True)
    assert np.array_equal(refined["masks"], expected)
    assert np.array_equal(probabilities > 0.5, expected)
