"""A run's files, broken or foreign: named, or made good again."""

from __future__ import annotations

import json

import pytest
import torch

from bpr_cli.errors import InputError
from bpr_cli.network import hrnet
from bpr_cli.training.distributed import Process
from bpr_cli.training.loop import Training
from bpr_cli.training.recipe import choose_recipe
from bpr_cli.training.run_folder import RunLog, has_begun, load_state, save_state
from bpr_cli.training.run_record import deciding, describe, open_run, write_record
from tests.training.states import equal

RECIPE = choose_recipe("default", steps=4, batch_size=2, input_size=32)
CPU = torch.device("cpu")
SHARD = {"file": "train-000000.tar", "bytes": 3, "sha256": "abc"}


def record(**changes):
    facts = {
        "init": None, "precision": "fp32", "validate_every": 2, "save_every": 1, "shards": [SHARD], "manifests": {},
        "device": "cpu", "processes": 1,
    }  # fmt: skip
    return describe(RECIPE, **{**facts, **changes})


@pytest.fixture
def folder(tmp_path):
    """A run's folder with a record and a state."""
    write_record(tmp_path, record())
    save_state(tmp_path, {"run": deciding(record()), "step": 1})
    return tmp_path


def open_again(folder, resume=True, **changes):
    return open_run(folder, record(**changes), resume, precision_is_open=True)


def test_the_same_run_goes_on_and_another_one_is_refused(folder):
    assert open_again(folder).state["step"] == 1
    with pytest.raises(InputError, match="a run is there already"):
        open_again(folder, resume=False)
    with pytest.raises(InputError, match="patches 1 -> 2 shards"):
        open_again(folder, shards=[SHARD, SHARD])
    with pytest.raises(InputError, match=r"patches train-000000\.tar \(abc\) -> val-000000\.tar \(abc\)"):
        open_again(folder, shards=[{**SHARD, "file": "val-000000.tar"}])


@pytest.mark.parametrize("content", [b"", b"\0" * 400, b'{"recipe": ', b"\xff\xfe", b"[" * 100_000])
def test_a_run_json_that_is_no_json_is_made_good_from_the_state(folder, content):
    (folder / "run.json").write_bytes(content)
    assert open_again(folder).record == json.loads(json.dumps(record()))
    with pytest.raises(InputError, match="validate_every 2 -> 3"):
        open_again(folder, validate_every=3)
    (folder / "last.pt").write_bytes(b"no state")
    with pytest.warns(UserWarning, match="cannot be read"), pytest.raises(InputError, match="is not recorded"):
        open_again(folder)
    (folder / "last.pt").write_bytes(b"")
    assert open_again(folder, resume=False).state is None


@pytest.mark.parametrize(
    "content",
    [
        "[1]", "3", "{}", "null", '{"recipe": 3}', '{"recipe": {}, "patches": {}}',
        '{"recipe": {}, "precision": "fp32", "shards": [3], "init": null}',
        '{"recipe": {}, "precision": "fp32", "shards": [], "init": "davis-fast"}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("resume", [True, False])
def test_a_foreign_run_json_is_named_and_let_be(folder, content, resume):
    (folder / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json"):
        open_again(folder, resume)
    (folder / "last.pt").unlink()
    with pytest.raises(InputError, match=r"run\.json"):
        open_again(folder, resume)
    assert (folder / "run.json").read_text() == content


@pytest.mark.parametrize("changes", [{"recipe": {}}, {"init": {}}, {"shards": [{}]}, {"versions": 3, "changes": "x"}])
def test_a_run_json_with_odd_values_never_ends_in_anything_but_an_input_error(folder, changes):
    write_record(folder, {**record(), **changes})
    if changes.keys() & {"recipe", "shards"}:
        with pytest.raises(InputError, match="other settings"):
            open_again(folder)
    elif "versions" in changes:
        with pytest.warns(UserWarning, match="goes on with"):
            assert open_again(folder).record["changes"][0]["step"] == 1
    else:
        open_again(folder)


def test_a_state_of_another_run_is_named(folder):
    save_state(folder, {"run": deciding(record(precision="bf16")), "step": 1})
    with pytest.raises(InputError, match=r"last\.pt.*not one of this run"):
        open_again(folder)
    for odd in ({"step": 3}, {"run": 3}, [1], torch.zeros(3)):
        torch.save(odd, folder / "last.pt")
        with pytest.raises(InputError, match=r"last\.pt.*not one of this run"):
            open_again(folder)


def test_nothing_kept_is_nothing_begun(tmp_path):
    write_record(tmp_path, record())
    (tmp_path / "last.pt").write_bytes(b"")
    assert not has_begun(tmp_path)
    assert load_state(tmp_path) is None
    assert open_again(tmp_path, resume=False, validate_every=9).record["validate_every"] == 9
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "model.safetensors").write_bytes(b"")
    assert has_begun(tmp_path)


def test_a_full_disk_is_an_error_of_the_system_that_names_the_file(tmp_path, monkeypatch):
    save_state(tmp_path, {"step": 1})

    def fail(state, path):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534\nmore")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"the state could not be written \(\[enforce.* disk full.*last\.pt"):
        save_state(tmp_path, {"step": 2})
    assert load_state(tmp_path) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize(
    "tail",
    [
        b'{"step": 2, "kind"',
        b"\0" * 40,
        b"\xff\xfe\n",
        b"[1]\n",
        b'{"step": "2"}\n',
        b'{"step": true}\n',
        b"[" * 99_999,
    ],
)
def test_broken_and_later_lines_of_the_log_are_dropped(tmp_path, tail):
    good = b'{"step": 1, "kind": "train"}\n{"step": 2, "kind": "train"}\n'
    (tmp_path / "log.jsonl").write_bytes(good + b'{"step": 3, "kind": "train"}\n' + tail)
    RunLog(tmp_path, 2)
    assert (tmp_path / "log.jsonl").read_bytes() == good


@pytest.fixture(scope="module")
def begun():
    """A training after one made-up step, and its state."""
    training = Training(hrnet.build(RECIPE.network), RECIPE, None, Process(0, 1, CPU), None, None, {})
    for parameter in training.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    training.optimizer.step()
    state = {
        "step": 1, "network": training.network.state_dict(), "ema": training.ema.state_dict(),
        "optimizer": training.optimizer.state_dict(), "best": None, "best_step": None,
    }  # fmt: skip
    return training, state


def changed(state):
    optimizer = state["optimizer"]
    yield "weights are missing", {**state, "network": dict(list(state["network"].items())[1:])}
    yield "weights are a number", {**state, "network": 3}
    yield "the average is missing", {key: value for key, value in state.items() if key != "ema"}
    yield "another optimiser", {**state, "optimizer": {"state": {}, "param_groups": []}}
    first = {**optimizer["state"][0], "exp_avg": torch.zeros(3)}
    yield "another shape", {**state, "optimizer": {**optimizer, "state": {**optimizer["state"], 0: first}}}
    yield "odd scores", {**state, "best": {"mood": 1.0}}
    for step in (0, 5, "1", True, None):
        yield f"step {step!r}", {**state, "step": step}


def test_a_state_that_does_not_fit_is_refused_whatever_is_wrong_with_it(begun):
    training, state = begun
    training.restore(state)
    assert equal(training.optimizer.state_dict(), state["optimizer"])
    for name, odd in changed(state):
        with pytest.raises((KeyError, TypeError, ValueError, RuntimeError, AttributeError)):
            training.restore(odd)
            pytest.fail(name)


@pytest.mark.parametrize("key", ["recipe", "init", "precision", "validate_every", "shards"])
def test_a_record_or_a_state_that_lacks_what_decides_is_foreign(folder, key):
    whole = record()
    lacking = {name: value for name, value in whole.items() if name != key}
    (folder / "run.json").write_text(json.dumps(lacking))
    with pytest.raises(InputError, match="no record of a run"):
        open_again(folder)
    write_record(folder, whole)
    save_state(folder, {"run": {name: lacking[name] for name in deciding(whole) if name != key}, "step": 1})
    with pytest.raises(InputError, match="not one of this run"):
        open_again(folder)


@pytest.mark.parametrize("name", ["run.json", "last.pt", "log.jsonl", "best/model.safetensors", "best/config.json"])
def test_a_folder_in_the_place_of_a_runs_file_is_named_at_the_start(folder, name):
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir(parents=True)
    with pytest.raises(InputError, match="a folder is there") as caught:
        open_again(folder)
    assert caught.value.file == folder / name
