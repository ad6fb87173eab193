"""AP*: detections of COCO's 80 classes scored against LVIS annotations of the same images.

LVIS's outlines are finer and its rules know which classes were looked for, so refinement papers score COCO
detectors this way (Kirillov et al., "PointRend", CVPR 2020; Tang et al., CVPR 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bpr_cli.errors import InputError
from bpr_cli.evaluation.checks import FEDERATED, check_truth
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, Results

# COCO class id -> WordNet synset, by which LVIS names its classes: the list of LVIS's authors (lvis-api,
# data/coco_to_synset.json).
COCO_SYNSETS = {
    1: "person.n.01", 2: "bicycle.n.01", 3: "car.n.01", 4: "motorcycle.n.01", 5: "airplane.n.01",
    6: "bus.n.01", 7: "train.n.01", 8: "truck.n.01", 9: "boat.n.01", 10: "traffic_light.n.01",
    11: "fireplug.n.01", 13: "stop_sign.n.01", 14: "parking_meter.n.01", 15: "bench.n.01", 16: "bird.n.01",
    17: "cat.n.01", 18: "dog.n.01", 19: "horse.n.01", 20: "sheep.n.01", 21: "beef.n.01",
    22: "elephant.n.01", 23: "bear.n.01", 24: "zebra.n.01", 25: "giraffe.n.01", 27: "backpack.n.01",
    28: "umbrella.n.01", 31: "bag.n.04", 32: "necktie.n.01", 33: "bag.n.06", 34: "frisbee.n.01",
    35: "ski.n.01", 36: "snowboard.n.01", 37: "ball.n.06", 38: "kite.n.03", 39: "baseball_bat.n.01",
    40: "baseball_glove.n.01", 41: "skateboard.n.01", 42: "surfboard.n.01", 43: "tennis_racket.n.01",
    44: "bottle.n.01", 46: "wineglass.n.01", 47: "cup.n.01", 48: "fork.n.01", 49: "knife.n.01",
    50: "spoon.n.01", 51: "bowl.n.03", 52: "banana.n.02", 53: "apple.n.01", 54: "sandwich.n.01",
    55: "orange.n.01", 56: "broccoli.n.01", 57: "carrot.n.01", 58: "frank.n.02", 59: "pizza.n.01",
    60: "doughnut.n.02", 61: "cake.n.03", 62: "chair.n.01", 63: "sofa.n.01", 64: "pot.n.04",
    65: "bed.n.01", 67: "dining_table.n.01", 70: "toilet.n.02", 72: "television_receiver.n.01",
    73: "laptop.n.01", 74: "mouse.n.04", 75: "remote_control.n.01", 76: "computer_keyboard.n.01",
    77: "cellular_telephone.n.01", 78: "microwave.n.02", 79: "oven.n.01", 80: "toaster.n.02",
    81: "sink.n.01", 82: "electric_refrigerator.n.01", 84: "book.n.01", 85: "clock.n.01", 86: "vase.n.01",
    87: "scissors.n.01", 88: "teddy.n.01", 89: "hand_blower.n.01", 90: "toothbrush.n.01",
}  # fmt: skip

HOT_DOG, SAUSAGE = 58, "sausage.n.01"  # LVIS v1 has no frank.n.02; its hot dogs are among the sausages


def with_coco_classes(truth: Results) -> Results:
    """LVIS ground truth cut down to COCO's classes, with COCO's ids, so that COCO detections can be scored.

    Objects of other classes are left out; so are other classes among an image's negative and not exhaustively
    annotated ones. All images stay.

    Args:
        truth: read from an LVIS file, whose categories state their `synset`.

    Raises:
        InputError: it is not LVIS ground truth, or its categories have no synset.
    """
    if not truth.frequencies:
        raise InputError(
            "this is not LVIS ground truth: its categories have no frequency",
            file=truth.path,
            remedy="AP* needs lvis_v1_val.json or its like",
        )
    check_truth(truth)
    ids = _coco_ids(truth)
    entries = []
    for entry in truth.images:
        kept = [instance for instance in entry.instances if instance.category_id in ids]
        entries.append(ImageInstances(_image(entry.image, ids), tuple(_instance(instance, ids) for instance in kept)))
    return replace(
        truth,
        images=tuple(entries),
        count=sum(len(entry.instances) for entry in entries),
        categories={coco: truth.categories[lvis] for lvis, coco in ids.items()},
        frequencies={coco: truth.frequencies[lvis] for lvis, coco in ids.items()},
        synsets={coco: truth.synsets[lvis] for lvis, coco in ids.items()},
    )


def on_images_of(results: Results, truth: Results) -> Results:
    """The detections on images that the ground truth has; LVIS's validation set is but a part of COCO's images.

    Their positions (`index`) stay those of the file.
    """
    known = {entry.image.id for entry in truth.images}
    entries = tuple(entry for entry in results.images if entry.image.id in known)
    return replace(results, images=entries, count=sum(len(entry.instances) for entry in entries))


def _coco_ids(truth: Results) -> dict[int, int]:
    """LVIS class id -> COCO class id."""
    synsets = {synset: number for number, synset in COCO_SYNSETS.items()}
    if COCO_SYNSETS[HOT_DOG] not in truth.synsets.values():
        synsets[SAUSAGE] = HOT_DOG
    ids = {number: synsets[synset] for number, synset in truth.synsets.items() if synset in synsets}
    if not ids:
        raise InputError(
            "none of its categories has the synset of a COCO class",
            file=truth.path,
            remedy="Give LVIS's own annotation file, whose categories state their synset",
        )
    return ids


def _image(record: ImageRecord, ids: Mapping[int, int]) -> ImageRecord:
    changed: dict[str, Any] = dict(record.fields)
    for name in FEDERATED:
        changed[name] = [ids[number] for number in record.fields.get(name) or () if number in ids]
    return replace(record, fields=changed)


def _instance(instance: Instance, ids: Mapping[int, int]) -> Instance:
    assert instance.category_id is not None  # it was found among the ids
    return replace(instance, category_id=ids[instance.category_id])
