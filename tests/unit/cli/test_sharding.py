"""One text in several processes: shards as torchrun numbers them, and an engine on the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.builders.texts import documents, small_model
from tests.unit.capture.test_collect import same_preferences
from txray.cli.main import _exit_code
from txray.cli.sharding import EngineOptions, rank_device, shard_and_folder
from txray.engines import Ray
from txray.errors import UsageError
from txray.models import save_model
from txray.preferences import Stage


def txray(*arguments: object) -> int:
    return _exit_code([str(argument) for argument in arguments])


@pytest.fixture
def asked(tmp_path: Path) -> list[object]:
    """A collection of a few documents, without `--out`."""
    save_model(small_model(), tmp_path / "model")
    text = "\n\n".join(" ".join(document.words) for document in documents(21))
    (tmp_path / "text.txt").write_text(text)
    return [
        "collect",
        tmp_path / "model",
        "--format",
        "text",
        "--text",
        tmp_path / "text.txt",
        "--device",
        "cpu",
    ]


def test_torchrun_collects_parts_that_merge_to_the_whole(asked: list[object], tmp_path: Path) -> None:
    assert txray(*asked, "--out", tmp_path / "whole") == 0
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "txray"]
    command = [sys.executable, *launch, *asked, "--shard", "auto", "--out", tmp_path / "out"]
    subprocess.run(
        list(map(str, command)), check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    parts = sorted((tmp_path / "out").iterdir())
    assert [part.name for part in parts] == ["part-00000-of-00002", "part-00001-of-00002"]
    assert [Stage.load(part).name for part in parts] == ["out", "out"]
    assert txray("merge", *parts, "--out", tmp_path / "merged") == 0
    whole, merged = Stage.load(tmp_path / "whole"), Stage.load(tmp_path / "merged")
    same_preferences(whole, merged)
    assert merged.manifest["corpus"] == whole.manifest["corpus"]
    assert merged.manifest["words"] == whole.manifest["words"]


def test_auto_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path("out")
    assert shard_and_folder(None, out) == (None, out)
    assert shard_and_folder("3/8", out) == ((3, 8), out)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert shard_and_folder("auto", out) == ((3, 8), out / "part-00002-of-00008")
    monkeypatch.setenv("RANK", "8")
    with pytest.raises(UsageError, match="RANK='8' and WORLD_SIZE='8'; start the command with torchrun"):
        shard_and_folder("auto", out)
    monkeypatch.delenv("RANK")
    with pytest.raises(UsageError, match="RANK=''"):
        shard_and_folder("auto", out)
    for wrong in ("3", "a/b", "/8", "automatic"):
        with pytest.raises(UsageError, match="such as 3/8"):
            shard_and_folder(wrong, out)


def test_every_rank_of_a_machine_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "3")
    cuda = torch.device("cuda", 0)
    assert rank_device(cuda, "auto") == torch.device("cuda", 3)
    assert rank_device(cuda, "1/2") == cuda
    assert rank_device(torch.device("cpu"), "auto") == torch.device("cpu")


def test_the_engine_that_is_named() -> None:
    assert EngineOptions().open("auto") is None
    for wrong, told in (
        ({"workers": 4}, "--workers 4"),
        ({"shards": 9, "address": "auto"}, "--shards 9 --address auto"),
    ):
        with pytest.raises(UsageError, match=f"{told}: .*add --engine ray"):
            EngineOptions(**wrong).open("auto")  # type: ignore[arg-type]
    assert EngineOptions(engine="ray", workers=3, shards=9, address="auto").open("auto") == Ray(3, 9, "auto")
    assert EngineOptions(engine="ray", workers=3, shard="1/2").open("cpu") == Ray(3, gpus=0)
    assert EngineOptions(engine="ray").open("cuda") == Ray(2, gpus=1)
    with pytest.raises(UsageError, match="both divide the text"):
        EngineOptions(engine="ray", shard="auto").open("auto")


def test_without_ray_one_line_names_the_extra(
    asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert txray(*asked, "--engine", "ray", "--out", tmp_path / "out") == 2
    assert (
        capsys.readouterr().err
        == "txray: the engine for Ray needs the extra 'ray' (ray is missing): pip install 'txray[ray]'\n"
    )
    assert not (tmp_path / "out").exists()


def descendants(pid: int) -> set[int]:
    """Processes that a process has started, and those that they have."""
    lines = subprocess.run(
        ["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    parents = dict(map(int, line.split()) for line in lines[1:])
    found: set[int] = set()
    while new := {child for child, parent in parents.items() if parent in {pid, *found}} - found:
        found |= new
    return found


def test_interrupted_it_leaves_finished_shards_and_no_process(asked: list[object], tmp_path: Path) -> None:
    asked[3:6] = ["demo", "--text", "reviews", "--max-words", 400_000]
    # Below `nohup` and in the background of a shell, Ctrl-C is ignored, and so it would be here.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    begin = f"{heard}; from txray.cli.main import run; run()"
    command = [sys.executable, "-c", begin, *asked, "--engine", "ray", "--workers", 1, "--shards", 50]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    process = subprocess.Popen(
        list(map(str, [*command, "--out", tmp_path / "out"])),
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    deadline = time.monotonic() + 100
    # A shard that is being written lies beside its place, under a name of its own.
    while not list((tmp_path / "out").glob("shards/[!.]*/manifest.json")):
        assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "txray: Interrupted. Run the same command again to resume.\n")
    deadline = time.monotonic() + 20
    while left := [pid for pid in started if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert 0 < len(list((tmp_path / "out" / "shards").iterdir())) < 50
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.filterwarnings("default::txray.errors.DominanceWarning")
def test_a_cluster_of_its_own_says_no_more_than_a_single_pass(
    asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked[3:6] = ["demo", "--text", "reviews", "--max-words", 200_000]
    assert txray(*asked, "--out", tmp_path / "whole") == 0
    told = capsys.readouterr()
    command = [sys.executable, "-m", "txray", *asked, "--engine", "ray", "--workers", 1, "--shards", 12]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    process = subprocess.Popen(
        list(map(str, [*command, "--out", tmp_path / "out"])),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    deadline = time.monotonic() + 100
    while not list((tmp_path / "out").glob("shards/*/manifest.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = [
        pid
        for pid in descendants(process.pid)
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::Worker")
    ]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    out, said = process.communicate(timeout=200)
    assert workers, "no worker was killed"
    assert (process.returncode, said) == (0, told.err)
    assert out == told.out.replace("whole", "out")
    whole, found = Stage.load(tmp_path / "whole"), Stage.load(tmp_path / "out")
    same_preferences(whole, found)
    assert found.manifest["corpus"] == whole.manifest["corpus"]
    assert not (tmp_path / "out" / "shards").exists()
