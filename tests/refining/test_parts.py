"""A folder of parts: a part comes out for each that went in, whole or not at all, and none is done twice."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
import tracemalloc

import pytest

from bpr_cli.errors import InputError
from bpr_cli.extraction.extract import extract
from bpr_cli.formats import read_results
from bpr_cli.refining import refinement
from bpr_cli.refining.refine import refine
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from tests.conftest import run_bpr

NAMES = ("a.json", "b.json.gz", "c.jsonl")


@pytest.fixture(scope="module")
def refiner(small_model):
    return Refiner.from_pretrained(small_model, "cpu", "fp32", RefineSettings(passes=1, flips=False, caution=0.05))


@pytest.fixture(scope="module")
def single(three_photos, refiner, tmp_path_factory):
    """The detections of three photos, refined as one file; two or more of each photo."""
    folder = tmp_path_factory.mktemp("single")
    refined = folder / "out.json"
    refine(three_photos.results, refined, images=three_photos.images, image_info=three_photos.gt, model=refiner,
           quiet=True)  # fmt: skip
    return json.loads(three_photos.results.read_text()), json.loads(refined.read_text())


@pytest.fixture
def folder(single, tmp_path):
    """A part for each photo, each in another form."""
    path = tmp_path / "parts"
    path.mkdir()
    for name, records in zip(NAMES, by_image(single[0]), strict=True):
        write(path / name, records)
    (path / "_SUCCESS").touch()
    return path


@pytest.fixture
def run(three_photos, refiner, folder, tmp_path):
    def run(**changes):
        arguments = {"images": three_photos.images, "image_info": three_photos.gt, "model": refiner, "quiet": True}
        return refine(folder, tmp_path / "out", **{**arguments, **changes})

    return run


def by_image(records):
    return [
        [r for r in records if r["image_id"] == image_id] for image_id in dict.fromkeys(r["image_id"] for r in records)
    ]


def write(path, records):
    text = "".join(f"{json.dumps(record)}\n" for record in records) if "jsonl" in path.name else json.dumps(records)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def read(path):
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.splitlines()] if "jsonl" in path.name else json.loads(data)


def test_each_part_comes_out_with_its_name_and_form_as_it_would_by_itself(run, single, folder, tmp_path):
    summary = run()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == list(NAMES)
    assert not (tmp_path / "out.unfinished").exists()
    assert [read(tmp_path / "out" / name) for name in NAMES] == by_image(single[1])
    assert summary.instances == len(single[0])
    assert summary.changed == sum(old != new for old, new in zip(*single, strict=True)) > 0


def test_a_folder_of_parts_is_read_as_one_list(folder, single):
    results = read_results(folder)
    found = sorted((i for entry in results.images for i in entry.instances), key=lambda i: i.index)
    assert [dict(instance.fields) for instance in found] == [r for part in by_image(single[0]) for r in part]
    assert [instance.index for instance in found] == list(range(len(single[0])))
    assert results.count == len(single[0])
    assert {instance.source.name for instance in found} == set(NAMES)


def test_an_image_in_two_parts_is_one_image_when_all_are_read(single, tmp_path):
    (records, *_) = by_image(single[0])
    for place, record in enumerate(records):
        write(tmp_path / f"{place}.json", [record])
    (entry,) = read_results(tmp_path).images
    assert len(entry.instances) == len(records) > 1


class KilledError(Exception):
    """Stands for a process that ends."""


@pytest.fixture
def stopped(run, monkeypatch, tmp_path):
    """A refinement that ended in its third part; when the parts before it were written."""
    refine_input = refinement.Refinement.__call__

    def until_the_third(self, input, output):
        if output.name == NAMES[2]:
            raise KilledError
        return refine_input(self, input, output)

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(refinement.Refinement, "__call__", until_the_third)
        run()
    return {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in NAMES[:2]}


def test_parts_that_are_done_are_not_done_again(run, stopped, single, tmp_path):
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == list(NAMES[:2])
    summary = run()
    assert [read(tmp_path / "out" / name) for name in NAMES] == by_image(single[1])
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in NAMES[:2]} == stopped
    assert summary.instances == len(single[0])
    assert summary.changed == sum(old != new for old, new in zip(*single, strict=True))
    assert not (tmp_path / "out.unfinished").exists()


def test_a_finished_part_that_was_damaged_is_done_again(run, stopped, single, tmp_path):
    (tmp_path / "out" / NAMES[0]).write_text("[]")
    (tmp_path / "out" / NAMES[1]).unlink()
    run()
    assert [read(tmp_path / "out" / name) for name in NAMES] == by_image(single[1])


def test_a_part_is_done_again_if_its_photo_has_changed(run, stopped, three_photos, single, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(three_photos.images, photos, copy_function=shutil.copyfile)  # the same bytes, another time
    run(images=photos)
    again = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in NAMES[:2]}
    assert not stopped.items() & again.items()


def test_other_settings_are_refused_by_name(run, stopped, refiner, small_model):
    other = Refiner.from_pretrained(small_model, "cpu", "fp32", RefineSettings(passes=1, flips=False, caution=0.3))
    with pytest.raises(InputError, match=r"of other inputs or settings \(caution 0.05 -> 0.3\)"):
        run(model=other)


def test_a_part_that_changed_after_it_was_done_is_refused_by_name(run, stopped, folder):
    write(folder / NAMES[0], read(folder / NAMES[0])[:1])
    with pytest.raises(InputError, match=r"a\.json: the part has changed since it was refined"):
        run()


def test_other_parts_are_refused(run, stopped, folder):
    write(folder / "d.json", read(folder / NAMES[0]))
    with pytest.raises(InputError, match="parts 3 -> 4; list of parts has changed"):
        run()


def test_a_part_not_done_yet_may_be_mended(run, folder, single, tmp_path):
    good = (folder / NAMES[2]).read_bytes()
    (folder / NAMES[2]).write_bytes(good + b'{"image_id": 5}\n')
    with pytest.raises(InputError, match=r"c\.jsonl, image 5, annotation \d+: there is no segmentation"):
        run()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == list(NAMES[:2])
    (folder / NAMES[2]).write_bytes(good)
    run()
    assert [read(tmp_path / "out" / name) for name in NAMES] == by_image(single[1])


def test_half_of_the_parts_is_not_taken_for_all(stopped, tmp_path):
    with pytest.raises(InputError, match="not all parts of the folder are there"):
        read_results(tmp_path / "out")


def test_what_was_skipped_is_said_of_its_part(run, folder):
    records = read(folder / NAMES[0])
    write(folder / NAMES[0], [{**records[0], "segmentation": {"size": [1, 2], "counts": "not RLE"}}, *records[1:]])
    summary = run(skip_bad=True)
    assert summary.skipped.instances == 1
    assert [NAMES[0] in line for line in summary.skipped.lines] == [True]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("photo.jpg", b"\xff\xd8\xff", r"photo\.jpg: this is no list of COCO results, and others in the folder"),
        ("gt.json", b'{"images": [], "annotations": []}', r"gt\.json: this is no list of COCO results"),
        ("a.jsonl", b'{"image_id": 1}\n', "two forms of one part: there is a.json too"),
        ("sub/x.json", b"[]", "sub: this is no list of COCO results"),
    ],
)
def test_a_folder_that_holds_something_else_too_is_refused(run, folder, tmp_path, name, content, problem):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=problem):
        run()
    assert not (tmp_path / "out").exists()


def test_parts_of_something_else_in_the_output_are_refused(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "z.json").write_text("[]")
    with pytest.raises(InputError, match=r"z\.json: there is another part in the output folder"):
        run()


def test_parts_need_the_folder_of_photos(folder, tmp_path):
    with pytest.raises(InputError, match="the photos of these are not known"):
        refine(folder, tmp_path / "out", quiet=True)


def test_one_part_is_in_memory_at_a_time(three_photos, refiner, single, tmp_path):
    peaks = []
    for count in (1, 4):
        folder = tmp_path / f"{count} parts"
        folder.mkdir()
        for number in range(count):
            write(folder / f"{number}.json", [{**single[0][0], "note": "x" * 6_000_000}])
        tracemalloc.start()
        refine(folder, tmp_path / f"{count} out", images=three_photos.images, image_info=three_photos.gt, model=refiner,
               quiet=True)  # fmt: skip
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_patches_are_the_same_from_parts_as_from_one_file(three_photos, folder, tmp_path):
    sources = {"from one": three_photos.results, "from parts": folder}
    patches = {}
    for name, path in sources.items():
        extract(three_photos.images, three_photos.gt, tmp_path / name, results=path, quiet=True)
        with tarfile.open(tmp_path / name / "train-000000.tar") as tar:
            members = [member for member in tar if not member.name.endswith(".json")]  # which say the place in the file
            patches[name] = {member.name: tar.extractfile(member).read() for member in members}
    assert patches["from one"] == patches["from parts"]
    assert patches["from one"]
    write(folder / NAMES[0], read(folder / NAMES[0])[:1])
    with pytest.raises(InputError, match=r"a\.json has changed"):
        extract(three_photos.images, three_photos.gt, tmp_path / "from parts", results=folder, quiet=True)


def test_the_command_line_refines_parts(three_photos, small_model, folder, single, tmp_path):
    arguments = ["refine", folder, "-o", tmp_path / "out", "--images", three_photos.images, "--quiet"]
    arguments += ["--image-info", three_photos.gt, "--model", small_model, "--device", "cpu", "--passes", 1]
    done = run_bpr(*arguments)
    assert done.returncode == 0
    assert done.stdout.startswith(f"{len(single[0])} instances, ")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == list(NAMES)
    refused = run_bpr(*arguments, "--json", tmp_path / "x.json")
    assert refused.returncode == 2
    assert "json_file would not be used beside a folder of parts" in refused.stderr
