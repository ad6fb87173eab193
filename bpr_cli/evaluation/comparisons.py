"""What comparing an image's detections with its objects gave: numbers, the same after a round trip through JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bpr_cli.evaluation.average_precision import CountedDetection, CountedObject, EvaluatedImage, Overlap
from bpr_cli.evaluation.figures import InstanceChange, MaskScores, ObjectScores


@dataclass(frozen=True, slots=True)
class FileOnImage:
    """What one file has on one image.

    Attributes:
        evaluated: its detections and the objects, for AP.
        contours: (class, position of the IoU threshold, F-score) of each true positive.
    """

    evaluated: EvaluatedImage
    contours: Sequence[tuple[int, int, float]]


@dataclass(frozen=True, slots=True)
class BoundOnImage:
    """One upper bound on one image: its detections for AP, and the scores of each object's best one."""

    evaluated: EvaluatedImage
    scores: Sequence[MaskScores]


@dataclass(frozen=True, slots=True)
class ImageComparison:
    """What one image adds to an evaluation."""

    after: FileOnImage
    before: FileOnImage | None
    objects: Sequence[ObjectScores]
    changes: Sequence[InstanceChange]
    bounds: Sequence[BoundOnImage]

    def as_json(self) -> dict[str, Any]:
        """As JSON takes it; the objects, which all its parts share, are written once."""
        evaluated = self.after.evaluated
        return {
            "truths": evaluated.truths,
            "negative": list(evaluated.negative),
            "not_exhaustive": list(evaluated.not_exhaustive),
            "after": _file_as_json(self.after),
            "before": None if self.before is None else _file_as_json(self.before),
            "objects": [asdict(item) for item in self.objects],
            "changes": [asdict(item) for item in self.changes],
            "bounds": [
                {**_detections_as_json(bound.evaluated), "scores": [asdict(item) for item in bound.scores]}
                for bound in self.bounds
            ],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ImageComparison:
        """From what `as_json` gave, after a round trip."""
        truths = [CountedObject(*item) for item in value["truths"]]

        def evaluated(part: Mapping[str, Any]) -> EvaluatedImage:
            return EvaluatedImage(
                truths,
                [CountedDetection(*item) for item in part["detections"]],
                [Overlap(*item) for item in part["overlaps"]],
                value["negative"],
                value["not_exhaustive"],
            )

        def file(part: Mapping[str, Any]) -> FileOnImage:
            return FileOnImage(evaluated(part), [(category, step, f) for category, step, f in part["contours"]])

        return cls(
            file(value["after"]),
            None if value["before"] is None else file(value["before"]),
            [_object_from_json(item) for item in value["objects"]],
            [InstanceChange(**item) for item in value["changes"]],
            [
                BoundOnImage(evaluated(part), [MaskScores(**item) for item in part["scores"]])
                for part in value["bounds"]
            ],
        )


def _file_as_json(file: FileOnImage) -> dict[str, Any]:
    return {**_detections_as_json(file.evaluated), "contours": file.contours}


def _detections_as_json(image: EvaluatedImage) -> dict[str, Any]:
    return {"detections": image.detections, "overlaps": image.overlaps}


def _object_from_json(value: Mapping[str, Any]) -> ObjectScores:
    before = value["before"]
    scores = {"after": MaskScores(**value["after"]), "before": None if before is None else MaskScores(**before)}
    return ObjectScores(**{**value, **scores})
