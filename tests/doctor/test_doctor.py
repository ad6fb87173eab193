"""`bpr doctor`: what is wrong with an installation is a finding with a remedy, never a crash."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bpr_cli.doctor import checkup
from bpr_cli.doctor.models import file_hash
from bpr_cli.doctor.packages import Requirement, lacking
from bpr_cli.errors import DISTRIBUTION
from bpr_cli.network import zoo
from tests.conftest import AS_TESTED, ROOT, run_bpr


def run_doctor(*arguments: object, paths: tuple[Path, ...] = (), **environment: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of a doctor in a process of its own, with folders before all others on Python's path."""
    path = os.pathsep.join(map(str, (*paths, ROOT)))
    ended = subprocess.run(
        [sys.executable, "-m", "bpr_cli", "doctor", "--json", "-", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120, cwd=paths[0] if paths else ROOT,
        env={**os.environ, **AS_TESTED, **environment, "PYTHONPATH": path},
    )  # fmt: skip
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def broken_package(folder: Path, name: str, text: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text)
    return folder


def test_a_sound_installation_has_no_serious_problem(tmp_path: Path) -> None:
    run = run_bpr("doctor", "--json", tmp_path / "deep" / "doctor.json")
    assert run.returncode == 0, run.stdout
    for title in ("versions", "machine", "devices", "engines", "models", "caches", "extras", "problems"):
        assert f"\n{title}" in f"\n{run.stdout}"
    assert "\x1b" not in run.stdout
    document = json.loads((tmp_path / "deep" / "doctor.json").read_text())
    assert document["well"]
    assert {model["name"] for model in document["models"]} == set(zoo.zoo_names())
    assert not any(model["faults"] for model in document["models"])
    assert document["devices"]["cpu"]
    torch_on_cpu = [each for each in document["engines"] if each["engine"] == "torch" and each["device"] == "cpu"]
    assert [each["precision"] in ("fp32", "bf16") for each in torch_on_cpu] == [True]
    assert torch_on_cpu[0]["why"]


def test_the_json_alone_is_printed_for_a_dash() -> None:
    run = run_bpr("doctor", "--json", "-")
    assert json.loads(run.stdout)["well"]


def test_a_damaged_model_is_named_and_ends_in_1(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "bpr_cli", tmp_path / "bpr_cli", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "models", tmp_path / "models", ignore=shutil.ignore_patterns("*.jpg"))
    weights = tmp_path / "models" / "davis-fast" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with (tmp_path / "models" / "davis-w18s" / "int8.bin").open("r+b") as stream:  # one bit, the size as it was
        stream.seek(1_000_000)
        byte = stream.read(1)[0]
        stream.seek(1_000_000)
        stream.write(bytes([byte ^ 1]))
    (tmp_path / "models" / "open-w18s" / "config.json").unlink()
    code, document = run_doctor(paths=(tmp_path,))
    assert code == 1
    assert not document["well"]
    faults = {model["name"]: " ".join(model["faults"]) for model in document["models"]}
    assert faults["davis-fast"].startswith("model.safetensors: damaged")
    assert faults["davis-w18s"].startswith("int8.bin: damaged")
    assert faults["open-w18s"].startswith("config.json: ")
    assert faults["crowds-lite0"] == ""
    remedies = [problem["remedy"] for problem in document["problems"] if "davis-fast" in problem["problem"]]
    assert len(remedies) == 1
    assert "--force-reinstall" in remedies[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise ImportError('libc10.so: undefined symbol')", "undefined symbol"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "cannot be imported: Python ended"),
    ],
    ids=["an error", "the process's end"],
)
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_torch_that_cannot_be_imported_is_a_finding(tmp_path: Path, text: str, says: str) -> None:
    code, document = run_doctor(paths=(broken_package(tmp_path, "torch", text),))
    assert code == 1
    found = [problem for problem in document["problems"] if problem["problem"].startswith("torch ")]
    assert len(found) == 1
    assert says in found[0]["problem"]
    assert "pip install --force-reinstall torch" in found[0]["remedy"]
    assert document["engines"] == []
    assert document["versions"]["numpy"]  # the rest is told all the same


def test_a_broken_engine_is_a_finding_and_torch_is_left(tmp_path: Path) -> None:
    code, document = run_doctor(
        paths=(broken_package(tmp_path, "openvino", "raise OSError('libtbb.so.12 not found')"),)
    )
    assert code == 1  # --engine auto would take it
    (found,) = [problem for problem in document["problems"] if "openvino" in problem["problem"]]
    assert "libtbb.so.12" in found["problem"]
    assert "--engine torch" in found["remedy"]
    assert {each["engine"] for each in document["engines"]} == {"torch"}


def test_what_an_extra_lacks_is_told_from_the_installed_metadata(tmp_path: Path) -> None:
    info = tmp_path / "boundary_patch_refinement-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: 0.1.0\n"
        "Requires-Dist: numpy>=1.26\nRequires-Dist: nobody-has-this>=3; python_version < '3.0'\n"
        "Requires-Dist: no-such-package-of-anyone>=2.0; extra == 'imaginary'\n"
        "Requires-Dist: numpy>=999; extra == 'newer'\nRequires-Dist: numpy; extra == 'there'\n"
    )
    code, document = run_doctor(paths=(tmp_path,))
    assert document["extras"]["imaginary"] == ["no-such-package-of-anyone"]
    assert document["extras"]["newer"][0].endswith("wanted is >=999)")
    assert document["extras"]["there"] == []
    assert code == 0, document["problems"]  # an extra is nobody's need


def test_a_cache_that_cannot_be_written_to_is_told_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, document = run_doctor(TORCH_HOME=str(tmp_path / "file"))
    assert code == 0
    (found,) = [problem for problem in document["problems"] if "converted networks" in problem["problem"]]
    assert "TORCH_HOME" in found["remedy"]
    assert not found["serious"]


def test_neither_home_nor_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home" / "ada.l"
    home.mkdir(parents=True)
    monkeypatch.setattr(checkup.Path, "home", lambda: home)
    monkeypatch.setattr(checkup.getpass, "getuser", lambda: "ada.l")
    text = checkup.without_user(f"{home}/x, /scratch/ada.l/y, /scratch/ada.light/z, {home}")
    assert text == "~/x, /scratch/USER/y, /scratch/ada.light/z, ~"


@pytest.mark.parametrize(
    ("versions", "is_held"),
    [(">=0.1", True), ("", True), (">=999", False), (">=0.1,<1", False), ("<999,>=1.26", True)],
)
def test_versions_are_compared_by_their_numbers(versions: str, is_held: bool) -> None:
    assert (lacking(Requirement("numpy", versions, None)) is None) == is_held


def test_the_cards_hold_the_hashes_of_all_weights() -> None:
    for card in ROOT.glob("models/*/card.json"):
        hashes = json.loads(card.read_text())["sha256"]
        weights = {path.name for path in card.parent.iterdir() if path.suffix in (".safetensors", ".bin", ".xml")}
        assert set(hashes) == weights
        assert {name: file_hash(card.parent / name) for name in weights} == hashes
