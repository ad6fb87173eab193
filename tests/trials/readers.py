"""What the fuzz trial breaks, how, and the calls that read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import typer

import bpr_cli
from bpr_cli.app import app
from bpr_cli.errors import InputError
from bpr_cli.formats import read_results
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from tests.trials import mutations
from tests.trials.sound_inputs import convert_again, extract_again, train_on

TOLERANCE = 1e-4  # of a probability; OpenVINO and torch, both in float32, agree to 1e-6

Call = Callable[[Path], None]  # runs in the folder; takes the broken file, by its path in it
Mutations = Sequence[mutations.Mutation]


class UnreadableOutputError(RuntimeError):
    """What a command wrote is refused by the next one."""


class WrongAnswerError(RuntimeError):
    """What was broken was used all the same."""


@dataclass(frozen=True)
class Reader:
    """One kind of file, and what reads it.

    Attributes:
        name: as the page lists it.
        files: patterns of the files to break, in the folder of `sound_inputs`.
        mutations: one is drawn for each input.
        calls: one is drawn for each input.
        share: of all inputs, relative to other readers'.
    """

    name: str
    files: Sequence[str]
    mutations: Mutations
    calls: Sequence[Call]
    share: float = 1.0

    def found(self, folder: Path) -> list[str]:
        """The files that are there, by their paths in the folder."""
        return sorted({path.relative_to(folder).as_posix() for pattern in self.files for path in folder.glob(pattern)})


@cache
def load_refiner() -> Refiner:
    """The small folder's network, loaded once for all inputs that are not networks."""
    return _refiner(Path("model"))


def _refiner(model: Path) -> Refiner:
    settings = RefineSettings(passes=1, flips=False)
    return Refiner.from_pretrained(model, device="cpu", precision="fp32", engine="torch", settings=settings)


def _refine(source: str, images: str, output: str, skip_bad: bool = False, image_info: Path | None = None) -> None:
    bpr_cli.refine(
        Path(source),
        Path(output),
        images=Path(images),
        image_info=image_info,
        model=load_refiner(),
        skip_bad=skip_bad,
        quiet=True,
    )
    try:
        read_results(
            Path(output), skip_bad=skip_bad, images=Path(images)
        )  # records that could not be used are there as they came
    except InputError as error:
        raise UnreadableOutputError(str(error)) from error


def _refine_results(_: Path) -> None:
    _refine("results.json", "photos", "out.json")


def _refine_sound_results(_: Path) -> None:
    _refine("results.json", "photos", "out.json", skip_bad=True)


def _refine_in_kind(file: Path) -> None:
    _refine(str(file), "photos", "out" + "".join(file.suffixes))


def _refine_tool(source: str, output: str, skip_bad: bool) -> Call:
    def call(_: Path) -> None:
        _refine(source, "photos", output, skip_bad=skip_bad)

    return call


def _of_tool(source: str, output: str) -> list[Call]:
    return [_refine_tool(source, output, skip_bad) for skip_bad in (False, True)]


def _refine_dataset(_: Path) -> None:
    _refine("gt.json", "photos", "out.json")


def _refine_listed(file: Path) -> None:
    _refine("results.json", "photos", "out.json", image_info=file)


def _refine_city(_: Path) -> None:
    _refine("city/results", "city/leftImg8bit", "out")


def _refine_photo(file: Path) -> None:
    bpr_cli.refine(file, Path("out"), masks=[Path("masks/grey.png")], model=load_refiner(), quiet=True)


def _refine_photo_for(stated: str) -> Call:
    """A photo that a COCO file names, for what is only read then: the stated size, the search for files."""

    def call(file: Path) -> None:
        folder = Path("named")
        folder.mkdir()
        file.rename(folder / f"000000000007{file.suffix}")
        Path("photos/000000000008.png").rename(folder / "000000000008.png")
        _refine(stated, "named", "out.json", skip_bad=True)

    return call


def _refine_mask(file: Path) -> None:
    bpr_cli.refine(Path("kinds/rgb.png"), Path("out"), masks=[file], model=load_refiner(), quiet=True)


def _refine_with_model(model: Path) -> None:
    _refiner(model if model.name != "config.json" else model.parent)


def _refine_converted(_: Path) -> None:
    """A network that was changed on the disk must not answer: it is made again."""
    rng = np.random.default_rng(0)
    images_NHWC = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
    masks_NHW = rng.integers(0, 2, (2, 64, 64), np.uint8)
    answer, expected = (
        refiner.networks[0].engine.predict(images_NHWC, masks_NHW) for refiner in (convert_again(), load_refiner())
    )
    if not np.allclose(answer, expected, atol=TOLERANCE):
        raise WrongAnswerError(f"probabilities differ by up to {np.abs(answer - expected).max():.2g}")


def _evaluate(_: Path) -> None:
    bpr_cli.evaluate(Path("results.json"), Path("gt.json"), Path("baseline.json"), quiet=True)


def _evaluate_lvis(_: Path) -> None:
    bpr_cli.evaluate(Path("results.json"), Path("lvis.json"), quiet=True)


def _evaluate_lvis_as_coco(_: Path) -> None:
    bpr_cli.evaluate(Path("results.json"), Path("lvis.json"), coco_classes=True, quiet=True)


def _evaluate_city(_: Path) -> None:
    bpr_cli.evaluate(Path("city/results"), Path("city/gtFine"), quiet=True)


def _extract_into_shards(_: Path) -> None:
    extract_again(Path("shards"))


def _extract_anew(_: Path) -> None:
    extract_again(Path("new"))


def _train_anew(_: Path) -> None:
    train_on(Path("shards"), Path("new"))


def _resume(_: Path) -> None:
    train_on(Path("shards"), Path("run"))


@cache
def _command_line() -> Any:
    return typer.main.get_command(app)


def _command(*arguments: str) -> Call:
    def call(_: Path) -> None:
        # Its end is a SystemExit, with 2 for values that the command line's library refuses.
        _command_line().main(list(arguments))

    return call


REPORT = _command(
    *("evaluate", "results.json", "--gt", "gt.json", "--baseline", "baseline.json", "--images", "photos"),
    *("--report", "out", "--json", "figures.json", "--quiet"),
)
# They end at a file that is not there, once bpr.toml has been read and its values have been taken.
WITH_DEFAULTS = [
    _command("models"),
    _command("refine", "none.json", "-o", "out.json"),
    _command("evaluate", "none.json", "--gt", "none.json"),
    _command("extract", "--images", "photos", "--gt", "none.json", "-o", "new"),
    _command("train", "--patches", "none", "-o", "new"),
]


def _mostly(mutate: mutations.Mutation) -> Mutations:
    return (mutate,) * 3 + (mutations.bytes_at_random,)


JSON, PNG, TENSORS = _mostly(mutations.json_tree), _mostly(mutations.png_chunks), _mostly(mutations.torch_tree)
OPENVINO = (mutations.text_lines, mutations.bytes_at_random)
ONE_FILE = (mutations.safetensors_config, *_mostly(mutations.safetensors_header))
READ_PHOTO = [_refine_photo, _refine_photo_for("results.json"), _refine_photo_for("gt.json")]
READ_RESULTS = [_refine_results, _refine_sound_results, _evaluate, _extract_anew]


def _images(kind: str, mutate: Mutations, *suffixes: str) -> list[Reader]:
    photos, masks = ([f"{folder}/*.{suffix}" for suffix in suffixes] for folder in ("kinds", "masks"))
    return [
        Reader(f"photos, {kind}", photos, mutate, READ_PHOTO, 1.5),
        Reader(f"mask images, {kind}", masks, mutate, [_refine_mask], 1.5),
    ]


READERS = [
    Reader("COCO results", ["results.json"], JSON, READ_RESULTS, 4),
    Reader("COCO results, a record a line", ["results.jsonl"], _mostly(mutations.json_lines), [_refine_in_kind]),
    Reader("COCO results, compressed", ["results.json.gz"], (mutations.bytes_at_random,), [_refine_in_kind]),
    Reader("YOLO labels", ["yolo/*.txt"], _mostly(mutations.text_lines), _of_tool("yolo", "out")),
    Reader("labelme", ["labelme/*.json"], JSON, _of_tool("labelme", "out")),
    Reader("CVAT", ["cvat.xml"], _mostly(mutations.text_lines), _of_tool("cvat.xml", "out.xml")),
    Reader("Label Studio", ["label_studio.json"], JSON, _of_tool("label_studio.json", "out.json")),
    Reader("COCO panoptic", ["panoptic.json"], JSON, _of_tool("panoptic.json", "out.json")),
    Reader("COCO panoptic, PNG", ["panoptic/*.png"], PNG, _of_tool("panoptic.json", "out.json")),
    Reader("label maps", ["maps/*.png"], PNG, _of_tool("maps", "out")),
    Reader("COCO dataset", ["gt.json"], JSON, [_refine_dataset, _evaluate, _extract_anew], 4),
    Reader("LVIS dataset", ["lvis.json"], JSON, [_evaluate_lvis, _evaluate_lvis_as_coco], 2),
    Reader("list of images", ["gt.json"], JSON, [_refine_listed]),
    Reader("report: JSON", ["results.json", "baseline.json", "gt.json"], JSON, [REPORT]),
    Reader("report: photos", ["photos/*.png"], PNG, [REPORT], 0.5),
    Reader(
        "Cityscapes texts", ["city/results/*.txt"], _mostly(mutations.text_lines), [_refine_city, _evaluate_city], 2
    ),
    Reader("Cityscapes masks", ["city/results/*.png"], PNG, [_refine_city, _evaluate_city], 1.5),
    Reader("Cityscapes ground truth", ["city/gtFine/**/*.png"], PNG, [_evaluate_city], 1.5),
    *_images("PNG", PNG, "png"),
    *_images("JPEG", _mostly(mutations.jpeg_segments), "jpg"),
    *_images("TIFF", _mostly(mutations.tiff_entries), "tif"),
    *_images("WebP", _mostly(mutations.riff_sizes), "webp"),
    *_images("others", (mutations.bytes_at_random,), "bmp", "ppm", "gif", "avif", "jp2"),
    Reader("patch shards", ["shards/*.tar"], _mostly(mutations.tar_members), [_train_anew], 1.2),
    Reader("manifest.json", ["shards/manifest.json"], JSON, [_train_anew, _extract_into_shards]),
    Reader("reports of shards", ["shards/*.report.json"], JSON, [_extract_into_shards]),
    Reader("run.json", ["run/run.json"], JSON, [_resume], 0.7),
    Reader("log.jsonl", ["run/log.jsonl"], _mostly(mutations.json_lines), [_resume], 0.5),
    Reader("last.pt", ["run/last.pt"], TENSORS, [_resume], 0.6),
    Reader("config.json", ["model/config.json"], JSON, [_refine_with_model]),
    Reader("model.safetensors", ["model/*.safetensors"], _mostly(mutations.safetensors_header), [_refine_with_model]),
    Reader("a model in one file", ["one.safetensors"], ONE_FILE, [_refine_with_model]),
    Reader("converted networks", ["cache/bpr/*/*"], OPENVINO, [_refine_converted], 0.3),
    Reader(".pth checkpoints", ["weights.pth"], TENSORS, [_refine_with_model], 0.4),
    Reader("bpr.toml", ["bpr.toml"], _mostly(mutations.text_lines), WITH_DEFAULTS, 2),
]
