"""What is wrong with an address is one line: which one, what, what to do. What gives access is in none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from bpr_cli.errors import InputError
from bpr_cli.files import as_path
from bpr_cli.stores.addresses import Address, is_address, parse_address, shown
from tests.conftest import AS_TESTED, run_bpr, run_bpr_process
from tests.stores.conftest import BUCKET

ROOT = f"s3://{BUCKET}"


def one_line(done, *parts):
    """It ended with one line and exit code 2; the line holds the parts."""
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    for part in parts:
        assert part in lines[0]
    return lines[0]


@pytest.mark.parametrize(
    ("given", "url", "name", "parent"),
    [
        ("s3://b/a/results.json", "s3://b/a/results.json", "results.json", "s3://b/a"),
        ("s3:/b/x", "s3://b/x", "x", "s3://b"),
        ("S3://b/a//x/", "s3://b/a//x/", "x", "s3://b/a/"),
        ("s3://b", "s3://b", "b", "s3://b"),
        ("gs://b/x?y", "gs://b/x?y", "x?y", "gs://b"),
        ("hf://datasets/o/r@v/x", "hf://datasets/o/r@v/x", "x", "hf://datasets/o/r@v"),
        ("https://me:pw@h/a%20b.json?sig=1/2", "https://h/a%20b.json", "a b.json", "https://h"),
    ],
)
def test_addresses_are_told_from_paths_and_shown_without_what_gives_access(given, url, name, parent):
    address = parse_address(given)
    assert (str(address), address.name, str(address.parent)) == (url, name, parent)
    assert "pw" not in f"{address!r} {shown(given)}"
    assert not any(map(is_address, ("a/b.json", "C:/x", "s3", "photos", "/s3:/x", "x:y", None, 3)))
    assert shown("a/b") == "a/b"


def test_what_lies_in_a_signed_folder_is_not_signed_and_names_keep_their_question_marks():
    assert Address("https://me:pw@h/photos?sig=1").parent.url == "https://me:pw@h"
    assert Address("s3://b/photos/").child("a?b.jpg").url == "s3://b/photos/a?b.jpg"


@pytest.mark.parametrize(
    ("results", "parts"),
    [
        (f"{ROOT}/absent.json", [f"{ROOT}/absent.json", "there is no such object", "Check the address"]),
        (f"{ROOT}/absent/", [f"{ROOT}/absent", "nothing"]),
        ("s3://no-such-bucket-anywhere/x.json", ["s3://no-such-bucket-anywhere/x.json", "no such object"]),
        (f"{ROOT}/broken.json", [f"{ROOT}/broken.json: not valid JSON"]),
        ("az://b/results.json", ["az:// addresses are not taken", "s3, gs, hf"]),
        ("gs://b/results.json", ["gs://b/results.json", "gcsfs", "pip install gcsfs"]),
        ("hf://datasets/a/b/results.json", ["huggingface_hub"]),
    ],
)
def test_an_input_that_is_not_there_is_named_by_its_address(s3, three_photos, tmp_path, results, parts):
    (tmp_path / "broken.json").write_text("[{")
    s3.put(tmp_path / "broken.json", "broken.json")
    arguments = ["--images", three_photos.images, "-o", tmp_path / "out.json", "-q"]
    one_line(run_bpr("refine", results, *arguments), *parts)
    assert not (tmp_path / "out.json").exists()


def test_photos_that_are_missing_or_broken_are_named_by_their_address(s3, three_photos, tmp_path, small_model):
    s3.put_example(three_photos)
    names = [image["file_name"] for image in json.loads(three_photos.gt.read_text())["images"]]
    command = ["refine", f"{ROOT}/results.json", "--image-info", f"{ROOT}/gt.json", "-o", f"{ROOT}/out.json", "-q"]
    command += ["--model", small_model, "--speed", "fast", "--engine", "torch"]
    one_line(run_bpr(*command, "--images", f"{ROOT}/absent/"), f"{ROOT}/absent", "nothing")
    (tmp_path / "half.jpg").write_bytes((three_photos.images / names[1]).read_bytes()[:5000])
    s3.put(tmp_path / "half.jpg", f"photos/{names[1]}")
    one_line(run_bpr(*command, "--images", f"{ROOT}/photos"), f"{ROOT}/photos/{names[1]}: the image is truncated")
    s3.client.delete_object(Bucket=BUCKET, Key=f"photos/{names[1]}")
    one_line(run_bpr(*command, "--images", f"{ROOT}/photos"), f"{ROOT}/photos: no file for image", names[1])
    one_line(run_bpr(*command[:2], "-o", f"{ROOT}/results.json"), f"{ROOT}/results.json: the output is the input")
    one_line(run_bpr(*command[:2], "-o", f"{ROOT}/new/"), f"{ROOT}/new: the output is a folder")
    assert "out.json" not in s3.names()


def test_a_bucket_that_lets_nobody_in_and_no_credentials_are_told_apart(s3, three_photos, tmp_path, monkeypatch):
    arguments = ["refine", f"{ROOT}/results.json", "--images", three_photos.images, "-o", tmp_path / "out.json", "-q"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    one_line(run_bpr_process(*arguments), f"{ROOT}/results.json", "there are no credentials", "AWS_PROFILE")


def test_what_stays_local_says_so(three_photos, shard_folder, tmp_path):
    one_line(run_bpr("train", "--patches", shard_folder, "-o", "s3://b/run", "-q", cwd=tmp_path), "s3://b/run: out")
    one_line(run_bpr("benchmark", three_photos.results, "--images", "s3://b/x", cwd=tmp_path), "cannot be in a store")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="https://h/x: images cannot be in a store") as caught:
        as_path("https://me:pw@h/x?sig=1", "images")
    assert "pw" not in str(caught.value)


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(("s3fs", "aiohttp", "gcsfs")))  # None: an import fails
from bpr_cli.app import main
try:
    main()
finally:
    print([name for name in ("moto", "botocore", "fsspec.implementations.http") if name in sys.modules])
"""


@pytest.mark.parametrize("scheme", ["s3", "https", None])
def test_without_the_extra_an_address_names_it_and_nothing_of_it_is_imported(three_photos, tmp_path, scheme):
    results = three_photos.results if scheme is None else f"{scheme}://b/x.json"
    arguments = ["evaluate", results, "--gt", three_photos.gt, "-q"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, arguments)],
        capture_output=True, text=True, check=False, env={**os.environ, **AS_TESTED, "BPR_CACHE": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
    if scheme is None:
        assert done.returncode == 0, done.stderr
    else:
        one_line(done, f"{scheme}://b/x.json", "pip install 'boundary-patch-refinement[stores]'")
