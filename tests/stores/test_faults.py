"""What goes wrong on the way to a store is tried again; what stays so is one line. Nothing is lost or half there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bpr_cli.errors import InputError
from bpr_cli.stores import retrying, transfers
from bpr_cli.stores.addresses import parse_address
from bpr_cli.stores.shard_cache import cached_shards
from bpr_cli.stores.transfers import find_entry, read_bytes
from tests.conftest import run_bpr
from tests.stores.conftest import BUCKET
from tests.stores.faulty import KINDS, Faults, faulty_server
from tests.stores.test_messages import one_line

ROOT = f"s3://{BUCKET}"


@pytest.fixture
def through(s3, s3_endpoint, monkeypatch) -> Iterator:
    """Let the store be reached through a faulty server from here on; few and short waits."""
    import s3fs

    monkeypatch.setattr(retrying, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(transfers, "READ_TIMEOUT", 0.5)
    with ExitStack() as stack:

        def through(faults: Faults) -> Faults:
            monkeypatch.setenv("AWS_ENDPOINT_URL", stack.enter_context(faulty_server(s3_endpoint, faults)))
            s3fs.S3FileSystem.clear_instance_cache()
            return faults

        yield through


@pytest.fixture
def command(s3, three_photos, small_model):
    s3.put_example(three_photos)
    model = ["--model", small_model, "--speed", "fast", "--engine", "torch", "-q"]
    far = [f"{ROOT}/results.json", "-o", f"{ROOT}/refined.json", "--images", f"{ROOT}/photos"]
    return ["refine", *far, "--image-info", f"{ROOT}/gt.json", *model]


@pytest.fixture
def expected(three_photos, small_model, tmp_path):
    """What the command writes where nothing goes wrong."""
    local = ["refine", three_photos.results, "-o", tmp_path / "local.json", "--images", three_photos.images]
    done = run_bpr(
        *local, "--image-info", three_photos.gt, "--model", small_model, "--speed", "fast", "--engine", "torch"
    )
    assert done.returncode == 0, done.stderr
    return (tmp_path / "local.json").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_third_of_all_requests_going_wrong_changes_nothing(s3, through, command, expected, kind):
    faults = through(Faults(0.34, seed=len(kind), kinds=[kind]))
    done = run_bpr(*command)
    assert done.returncode == 0, done.stderr
    assert s3.get("refined.json") == expected
    assert faults.counts[kind] >= 3


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("500", "the store answered 500"),
        ("503", "the store answered 503"),
        ("reset", "the connection failed"),
        ("cut", "the answer was cut off"),
        ("short", "the answer was cut off"),
        ("late", "no answer came in time"),
    ],
)
@pytest.mark.parametrize("name", ["results.json", "photos/"])
def test_what_stays_wrong_is_one_line_and_nothing_is_written(s3, through, command, monkeypatch, kind, said, name):
    monkeypatch.setattr(retrying, "ATTEMPTS", 3)
    monkeypatch.setattr(transfers, "READ_TIMEOUT", 0.5 if kind != "late" else 0.2)
    through(Faults(1.0, kinds=[kind], only=f"GET /{BUCKET}/{name}"))
    line = one_line(run_bpr(*command), f"{ROOT}/{name}", "could not be read: tried 3 times", said)
    assert "secret" not in line
    assert "refined.json" not in s3.names()


def test_a_store_that_lets_nobody_in_is_asked_once(s3, through, command):
    faults = through(Faults(1.0, kinds=["403"]))
    one_line(run_bpr(*command), f"{ROOT}/results.json", "access is denied", "Check the credentials")
    assert faults.requests <= 2


def test_an_output_that_cannot_be_put_there_is_kept_and_the_line_says_where(s3, through, command, expected):
    through(Faults(1.0, kinds=["503"], only=f"PUT /{BUCKET}/refined.json"))
    line = one_line(run_bpr(*command), f"{ROOT}/refined.json: it could not be written", "what was made is kept in")
    kept = Path(re.search(r"kept in (\S+)\. ", line)[1])
    assert kept.is_relative_to(os.environ["BPR_CACHE"])
    assert kept.read_bytes() == expected
    assert "refined.json" not in s3.names()
    through(Faults(0.0))
    assert run_bpr(*command).returncode == 0
    assert s3.get("refined.json") == expected
    assert not kept.exists()


def test_shards_come_and_go_whole_through_a_third_of_faults(s3, through, three_photos, shard_folder, tmp_path):
    s3.put_example(three_photos)
    faults = through(Faults(0.34, seed=1))
    far = ["--images", f"{ROOT}/photos", "--gt", f"{ROOT}/gt.json", "--results", f"{ROOT}/results.json"]
    cut = ["--val-fraction", 0.34, "--split-by", "sequence", "--processes", 1, "-q"]
    done = run_bpr("extract", *far, "-o", f"{ROOT}/shards", *cut)
    assert done.returncode == 0, done.stderr
    with ExitStack() as stack:
        copied = cached_shards(parse_address(f"{ROOT}/shards"), tmp_path, stack, quiet=True)
        assert {path.name for path in copied.glob("*.tar")} == {path.name for path in shard_folder.glob("*.tar")}
        for path in copied.glob("*.tar"):
            assert path.read_bytes() == (shard_folder / path.name).read_bytes() == s3.get(f"shards/{path.name}")
    assert sum(faults.counts.values()) > 10


def test_a_large_object_is_read_in_pieces_and_refused_if_it_changes_meanwhile(s3, through, tmp_path, monkeypatch):
    monkeypatch.setattr(transfers, "PIECE", 100)
    (tmp_path / "large").write_bytes(bytes(range(250)) * 4)
    address = parse_address(s3.put(tmp_path / "large", "large"))
    through(Faults(0.3, seed=2, kinds=["500", "reset", "cut", "short"]))
    assert read_bytes(find_entry(address)) == (tmp_path / "large").read_bytes()
    through(Faults(0.0))
    original = transfers._piece

    def change(store, where, start, end):
        if start == 500:
            (tmp_path / "large").write_bytes(b"x" * 1000)
            s3.put(tmp_path / "large", "large")
        return original(store, where, start, end)

    monkeypatch.setattr(transfers, "_piece", change)
    with pytest.raises(InputError, match=f"{ROOT}/large: it was changed while it was read"):
        read_bytes(find_entry(address))


def test_what_a_web_server_gives_away_stays_out_of_messages(web, three_photos, tmp_path, monkeypatch):
    monkeypatch.setenv("BPR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(retrying, "FIRST_WAIT", 0.01)
    address, folder = web
    shutil.copy(three_photos.results, folder / "results.json")
    with faulty_server(address, Faults(0.5, seed=3, kinds=["500", "reset", "cut"])) as through:
        done = run_bpr("evaluate", f"{through}/results.json?sig=s3cr3t", "--gt", three_photos.gt, "-q")
        assert done.returncode == 0, done.stderr
    signed = "http://me:s3cr3t@" + through.partition("//")[2] + "/results.json?sig=s3cr3t"
    line = one_line(run_bpr("evaluate", signed, "--gt", three_photos.gt, "-q"), f"{through}/results.json", "connection")
    assert "s3cr3t" not in line
    missing = f"{address}/absent.json?sig=s3cr3t"
    line = one_line(run_bpr("evaluate", missing, "--gt", three_photos.gt, "-q"), f"{address}/absent.json", "no such")
    assert "s3cr3t" not in line
