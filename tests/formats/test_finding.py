"""Which file is an image's photo: never another one, and the error names what there is instead."""

from __future__ import annotations

import unicodedata

import pytest

from bpr_cli.errors import InputError
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.records import ImageRecord
from bpr_cli.notices import InputWarning


def finder_of(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return ImageFinder(folder)


@pytest.mark.parametrize(
    "name", ["goat_00003.png", "IMG_3.jpg", "3a.jpg", "03-1.jpg", "COCO_000000000003.jpg", "COCO_val2014_3.jpg"]
)
def test_a_number_in_a_name_of_another_pattern_is_no_id(tmp_path, name):
    with pytest.raises(InputError, match="no file for"):
        finder_of(tmp_path, name).find(ImageRecord(3))


def test_the_error_names_a_file_that_merely_ends_in_the_id(tmp_path):
    with pytest.raises(InputError, match=r"image 3, 1 of 1 in all .*swan_00003\.png.*--image-info"):
        finder_of(tmp_path, "swan_00003.png").find_all([ImageRecord(3)])


@pytest.mark.parametrize("image_id", [139, "139"])
def test_an_exact_name_goes_before_a_pattern_and_that_is_said(tmp_path, image_id):
    finder = finder_of(tmp_path, "139.jpg", "000000000139.jpg", "COCO_val2014_000000000139.jpg")
    with pytest.warns(InputWarning, match="by its name alone"):
        assert finder.find(ImageRecord(image_id)) == tmp_path / "139.jpg"


def test_two_files_of_one_pattern_are_refused(tmp_path):
    with pytest.raises(InputError, match="several files match"):
        finder_of(tmp_path, "0139.jpg", "COCO_val2014_000000000139.jpg").find(ImageRecord(139))


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("goat/00000.png", "blackswan/00000.png"),
        ("seq1/images/0.png", "seq2/images/0.png"),
        ("/data/train/0.png", "val/0.png"),
        ("C:\\data\\train\\0.png", "val/0.png"),
    ],
)
def test_a_file_in_another_folder_is_another_photo(tmp_path, name, there):
    finder = finder_of(tmp_path, there)
    with pytest.raises(InputError, match=f"there is {there}"):
        finder.find(ImageRecord(1, name))
    with pytest.raises(InputError, match=f"there is {there}"):
        finder.find(ImageRecord(name.replace("\\", "/")))


def test_of_paths_that_a_file_name_ends_in_the_longest_is_meant(tmp_path):
    finder = finder_of(tmp_path / "data", "a/0.jpg", "0.jpg")
    assert finder.find(ImageRecord(1, "data/a/0.jpg")) == tmp_path / "data/a/0.jpg"


def test_that_the_folder_has_another_name_than_the_file_names_say_is_told(tmp_path, recwarn):
    finder = finder_of(tmp_path / "blackswan", "0.jpg")
    finder.find(ImageRecord(1, "blackswan/0.jpg"))
    assert not recwarn.list
    with pytest.warns(InputWarning, match="in another folder"):
        finder.find(ImageRecord(1, "goat/0.jpg"))


@pytest.mark.parametrize(
    "records",
    [
        [ImageRecord(1, "a/0.jpg"), ImageRecord(2, "b/0.jpg"), ImageRecord(3, "1.jpg")],
        [ImageRecord(1, "0.jpg"), ImageRecord(2, "0.jpg"), ImageRecord(3, "1.jpg")],
        [ImageRecord(0), ImageRecord("0"), ImageRecord(3, "1.jpg")],
        [ImageRecord(0), ImageRecord(7, "0.jpg"), ImageRecord(3, "1.jpg")],
        [ImageRecord(0, "0.JPG"), ImageRecord(7, "0.jpg"), ImageRecord(3, "1.jpg")],
    ],
)
@pytest.mark.filterwarnings("ignore::bpr_cli.notices.InputWarning")
def test_two_images_with_one_file_are_refused_and_left_out_where_that_is_asked(tmp_path, records):
    finder = finder_of(tmp_path, "0.jpg", "1.jpg")
    with pytest.raises(InputError, match=r"both (be )?0\.jpg"):
        finder.find_all(records)
    problems: list[str] = []
    assert finder.find_all(records, problems) == {3: tmp_path / "1.jpg"}
    assert len(problems) == 2


@pytest.mark.parametrize(
    ("name", "there"),
    [
        (unicodedata.normalize("NFC", "käse.jpg"), unicodedata.normalize("NFD", "käse.jpg")),
        (unicodedata.normalize("NFD", "käse.jpg"), unicodedata.normalize("NFC", "käse.jpg")),
        ("my%20photo.jpg", "my photo.jpg"),
        ("my photo.jpg", "my%20photo.jpg"),
        ("IMG_1.JPG", "img_1.jpg"),
        ("Val/img_1.jpg", "val/IMG_1.jpg"),
    ],
)
def test_names_written_otherwise_are_found(tmp_path, name, there):
    finder = finder_of(tmp_path, there, "other.jpg")
    assert finder.find(ImageRecord(1, name)).name == there.rpartition("/")[2]
    assert finder.find(ImageRecord(name)).name == there.rpartition("/")[2]
    assert finder.find(ImageRecord(name.rpartition(".")[0])).name == there.rpartition("/")[2]


def test_the_name_as_it_is_written_goes_before_others(tmp_path):
    finder = finder_of(tmp_path, "A.jpg", "a.jpg")
    assert finder.find(ImageRecord(1, "a.jpg")) == tmp_path / "a.jpg"
    if len(list(tmp_path.iterdir())) == 2:  # not where the file system knows no case
        with pytest.raises(InputError, match="several files match"):
            finder.find(ImageRecord(1, "A.JPG"))


def test_another_ending_is_named_but_not_taken(tmp_path):
    # A mask or a label map has that name often enough.
    with pytest.raises(InputError, match=r"no file for a\.jpg; there is a\.png"):
        finder_of(tmp_path, "a.png").find(ImageRecord(1, "a.jpg"))


@pytest.mark.parametrize(
    ("ending", "kind"), [("heic", "HEIC"), ("HEIF", "HEIC"), ("nef", "camera raw"), ("jxl", "JPEG")]
)
@pytest.mark.parametrize("record", [ImageRecord(139), ImageRecord("139"), ImageRecord(1, "139.{}")])
def test_a_photo_of_a_kind_that_cannot_be_read_is_called_that(tmp_path, ending, kind, record):
    if record.file_name:
        record = ImageRecord(1, record.file_name.format(ending))
    finder = finder_of(tmp_path, f"139.{ending}")
    for find in (finder.find, lambda record: finder.find_all([record])):
        with pytest.raises(InputError, match=f"139.{ending} is of the kind {kind}.*cannot be read. Convert it"):
            find(record)


def test_a_readable_photo_goes_before_its_unreadable_twin(tmp_path):
    assert finder_of(tmp_path, "139.heic", "139.jpg").find(ImageRecord(139)) == tmp_path / "139.jpg"


@pytest.mark.parametrize("ending", ["avif", "jp2", "jfif", "jpe", "JPEG"])
def test_all_endings_of_kinds_that_are_read_are_found(tmp_path, ending):
    assert finder_of(tmp_path, f"139.{ending}").find(ImageRecord(139)) == tmp_path / f"139.{ending}"


def test_hidden_folders_are_not_searched(tmp_path):
    finder = finder_of(tmp_path, "139.jpg", ".ipynb_checkpoints/139.jpg", "a/.thumbs/140.jpg")
    assert finder.find(ImageRecord(139)) == tmp_path / "139.jpg"
    with pytest.raises(InputError):
        finder.find(ImageRecord(140))
