"""A folder of mask images, one or several for a photo, which their names tell: `a.png`, `a_1.png` or `a/1.png`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from bpr_cli.errors import InputError
from bpr_cli.formats.finding import SUFFIXES, ImageFinder
from bpr_cli.formats.folders import check_folder_output, files_below, write_file
from bpr_cli.formats.image_files import damage, read_bytes
from bpr_cli.formats.images import image_size
from bpr_cli.formats.label_maps import photos_beside
from bpr_cli.formats.mask_images import mask_file
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, ReadOptions, Results
from bpr_cli.formats.rle import RLE

KIND: Final = "mask-folder"
NAMED = 5  # masks named in an error; the rest are counted


@dataclass(frozen=True, slots=True)
class MaskFolder:
    """A folder of mask images, each of which is an instance."""

    path: Path
    instances: tuple[Instance, ...]

    def check_output(self, out: Path) -> None:
        """See `folders.check_folder_output`."""
        check_folder_output(self.path, out)

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """Write each mask as 8-bit PNG, 0 and 255, where it lay in the folder; its ending becomes .png.

        One whose segmentation is None keeps its foreground; one that cannot be read is copied as it is.
        """
        self.check_output(out)
        for instance, rle in zip(self.instances, segmentations, strict=True):
            target = out / _output_name(instance.segmentation.relative_to(self.path))
            write_file(target, mask_file(instance, rle))


def is_folder(folder: Path) -> bool:
    """Whether there are images in a folder, and nothing else."""
    files = files_below(folder, ("",))
    return bool(files) and all(path.suffix.lower() in SUFFIXES for path in files)


def read_folder(folder: Path, options: ReadOptions) -> Results:
    """Read a folder of mask images; instances are in the order of their paths. An image's id is its photo's name.

    A mask belongs to the photo that has the name of its folder, its own name, or its own up to a `_` (the longest
    that there is a photo for); folders of photos and masks correspond.

    Raises:
        InputError: the photos' folder is not known, a mask has no photo, two masks would be written to one file.
    """
    photos = options.images or photos_beside(folder)
    if photos is None:
        raise InputError(
            "this is a folder of images, and the photos of these masks are not known",
            file=folder,
            remedy="Give their folder with --images",
        )
    finder = ImageFinder(photos)
    masks = files_below(folder, SUFFIXES)
    _refuse_same_names(folder, masks)
    masks_of: dict[str, list[Path]] = defaultdict(list)
    alone: list[str] = []
    for mask in masks:
        relative = mask.relative_to(folder)
        name = next((name for name in _photo_names(relative) if finder.knows(name)), None)
        if name is None:
            alone.append(relative.as_posix())
        masks_of[name or relative.with_suffix("").as_posix()].append(mask)
    if alone and not options.skip_bad:
        more = f" and {len(alone) - NAMED} more" if len(alone) > NAMED else ""
        raise InputError(
            f"there are no photos for the masks {', '.join(alone[:NAMED])}{more}",
            file=folder,
            remedy="A mask of a.jpg is a.png, a_1.png or a/1.png",
        )
    entries: list[ImageInstances] = []
    instances: list[Instance] = []
    for name, paths in masks_of.items():
        found = tuple(
            Instance(len(instances) + place, name, path, None, None, False, {}, path)
            for place, path in enumerate(paths)
        )
        instances += found
        entries.append(ImageInstances(ImageRecord(name, None, *_size(paths[0], options.skip_bad)), found))
    source = MaskFolder(folder, tuple(instances))
    beside = photos if isinstance(photos, Path) else None
    return Results(folder, KIND, tuple(entries), len(instances), {}, source, photos=beside)


def _size(mask: Path, skip_bad: bool) -> tuple[int, int] | tuple[None, None]:
    """Height and width; neither for a broken image, which is told of when its mask is decoded."""
    if (problem := damage(read_bytes(mask))) is None:
        return image_size(mask)
    if skip_bad:
        return None, None
    raise InputError(f"the mask image cannot be read ({problem})", file=mask, remedy="Write it again as PNG")


def _photo_names(mask: Path) -> Iterator[str]:
    """What the photo of a mask may be called, the likeliest first."""
    name = PurePosixPath(mask.with_suffix("").as_posix())
    if len(name.parts) > 1:
        yield name.parent.as_posix()
    stem = name.name
    while stem:
        yield name.with_name(stem).as_posix()
        stem = stem.rpartition("_")[0]


def _output_name(relative: Path) -> Path:
    return relative.with_suffix(".png")


def _refuse_same_names(folder: Path, masks: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for mask in masks:
        name = str(_output_name(mask.relative_to(folder))).casefold()  # one file on Windows and macOS
        if name in seen:
            raise InputError(
                f"has the name of {seen[name]}", file=mask, remedy="Refined masks keep their names: rename one"
            )
        seen[name] = mask
