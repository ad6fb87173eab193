"""The cells of the paper's tables: one training, or none, and one refinement of the validation photos each.

Several tables share cells: the paper's default setting (HRNetV2-W18-Small at 128 px, 64 px patches without padding, NMS
at .25) stands in nearly all of them and is trained once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

THRESHOLDS = (0.15, 0.25, 0.35, 0.45, 0.55, 0.65)


@dataclass(frozen=True, slots=True)
class Training:
    """What a cell's model is trained on and how, by `bpr extract` and `bpr train`.

    Attributes:
        network, input_size, mask_patch: as in `bpr train`.
        patch_size, padding, scheme: as in `bpr extract`.
        form: whose coarse masks, by their place among the data set's.
        recipe: "paper", or "default" for ours.
    """

    network: str = "hrnet-w18-small"
    input_size: int = 128
    mask_patch: bool = True
    patch_size: int = 64
    padding: int = 0
    scheme: str = "dense"
    form: int = 0
    recipe: str = "paper"


@dataclass(frozen=True, slots=True)
class Cell:
    """One refinement to measure.

    Attributes:
        slug: its name in tables' definitions and on disk.
        tables: in which tables it stands.
        way: "coarse" (nothing is done), "grabcut", "shipped" (`bpr refine` by default) or "trained".
        training: of its model, where there is one.
        nms_threshold: where patches lie when refining; training has its own, .25.
        form: whose coarse masks are refined, by their place among the data set's.
    """

    slug: str
    tables: tuple[str, ...]
    way: str = "trained"
    training: Training | None = field(default_factory=Training)
    nms_threshold: float = 0.25
    form: int = 0


def _of(slug: str, tables: str, **training: object) -> Cell:
    return Cell(slug, tuple(tables.split()), training=Training(**training))  # type: ignore[arg-type]


# In the order in which they are run: what many tables need comes first, what is dear comes last.
CELLS = (
    Cell("coarse", ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10"), "coarse", None),
    _of("base", "2 3 4 5 6 7 8 9 10"),
    _of("no-mask-patch", "2", mask_patch=False),
    *(Cell(f"nms-{round(100 * t)}", ("7",), nms_threshold=t) for t in THRESHOLDS if t != 0.25),
    Cell("grabcut", ("8",), "grabcut", None),
    Cell("shipped", ("6", "8", "10"), "shipped", None),
    _of("input-32", "5", input_size=32),
    _of("input-64", "5", input_size=64),
    _of("grid-64", "4", scheme="grid"),
    Cell("coarse-other", ("9",), "coarse", None, form=1),
    Cell("base-on-other", ("9",), form=1),
    Cell("other-on-other", ("9",), training=Training(form=1), form=1),
    Cell("other-on-base", ("9",), training=Training(form=1)),
    _of("patch-32", "3", patch_size=32),
    _of("patch-96", "3", patch_size=96),
    _of("patch-64-16", "3", padding=16),
    _of("input-256", "5", input_size=256),
    _of("w18", "6", network="hrnet-w18"),
    _of("instance-256", "4", scheme="instance", patch_size=256, input_size=256),
    _of("w32", "6", network="hrnet-w32"),
    _of("patch-32-16", "3", patch_size=32, padding=16),
    _of("grid-32", "4", scheme="grid", patch_size=32),
    _of("grid-96", "4", scheme="grid", patch_size=96),
    _of("our-recipe", "8", recipe="default"),
    _of("w48", "6", network="hrnet-w48"),
    _of("input-512", "5", input_size=512),
    _of("instance-512", "4", scheme="instance", patch_size=512, input_size=512),
)
BY_SLUG = {cell.slug: cell for cell in CELLS}
