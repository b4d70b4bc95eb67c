from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.training_texts import bytes_of
from tests.unit.training.killed import EPOCHS, train
from txray.errors import SnapshotError
from txray.models import load_model
from txray.training import TrainingRun, load_run
from txray.training.classifier import _ClassifierModule
from txray.training.language_model import _LanguageModelModule

LANGUAGE_MODEL_STEP = "txray.training.language_model:_LanguageModelModule.training_step"
CLASSIFIER_STEP = "txray.training.classifier:_ClassifierModule.training_step"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainingRun]:
    """Trainings that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return {kind: train(kind, folder / kind) for kind in ("language-model", "classifier")}


# Name: (kind, where it dies, at which call, latest complete epoch). An epoch of the language model has
# some 10 steps, of the classifier 6. Snapshots and states are counted from epoch 0.
DEATHS: dict[str, tuple[str, str, int, int | None]] = {
    "in-the-middle-of-epoch-2": ("language-model", LANGUAGE_MODEL_STEP, 17, 1),
    "before-epoch-0": ("language-model", "txray.training.folder:save_model", 1, None),
    "half-a-snapshot": ("language-model", "txray.models.snapshot:_write_json", 6, 1),
    "snapshot-without-state": ("language-model", "txray.training.folder:save", 3, 1),
    "state-not-yet-in-place": ("language-model", "pathlib:Path.replace", 6, 1),
    "state-without-curves": ("language-model", "polars:DataFrame.write_parquet", 3, 1),
    "classifier-in-the-middle-of-epoch-2": ("classifier", CLASSIFIER_STEP, 10, 1),
}


@pytest.fixture(scope="module")
def graves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each of the killed trainings left."""
    folder = tmp_path_factory.mktemp("killed")
    jobs = [str(part) for name, death in DEATHS.items() for part in (name, *death[:3])]
    command = [sys.executable, "-m", "tests.unit.training.killed", str(folder), *jobs]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    codes = dict(line.split() for line in done.stdout.splitlines())
    assert codes == {name: str(-signal.SIGKILL) for name in DEATHS}, done.stderr
    assert done.stderr == "", "neither hints nor warnings of Lightning come through"
    return folder


@pytest.mark.parametrize("name", DEATHS)
def test_a_killed_training_goes_on_to_the_same_bytes(
    graves: Path, whole: dict[str, TrainingRun], name: str
) -> None:
    folder = graves / name
    kind, _, _, complete = DEATHS[name]
    if complete is None:
        with pytest.raises(SnapshotError, match="no epoch of this training is complete"):
            load_run(folder)
    else:
        run = load_run(folder)
        assert sorted(run.snapshots) == list(range(complete + 1))
        for snapshot in run.snapshots.values():
            load_model(snapshot)
    assert bytes_of(folder) != bytes_of(whole[kind].folder)

    assert sorted(train(kind, folder).snapshots) == list(range(EPOCHS + 1))
    assert bytes_of(folder) == bytes_of(whole[kind].folder)


@pytest.mark.parametrize(
    ("kind", "module"), [("language-model", _LanguageModelModule), ("classifier", _ClassifierModule)]
)
def test_ctrl_c_comes_through_and_the_training_can_go_on(
    tmp_path: Path,
    whole: dict[str, TrainingRun],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    kind: str,
    module: type,
) -> None:
    # A process started in the background ignores Ctrl-C; this one must hear it.
    handler = signal.default_int_handler
    before = signal.signal(signal.SIGINT, handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    original, seen = module.training_step, 0  # type: ignore[attr-defined]

    def interrupted(self: object, batch: object, batch_idx: int) -> object:
        nonlocal seen
        seen += 1
        if seen == 8:
            signal.raise_signal(signal.SIGINT)
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(module, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(kind, tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is handler
    train(kind, tmp_path / "run")
    assert bytes_of(tmp_path / "run") == bytes_of(whole[kind].folder)


def test_a_finished_training_is_not_trained_again(
    whole: dict[str, TrainingRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, run in whole.items():
        before = bytes_of(run.folder)
        with monkeypatch.context() as patch:
            for module in (_LanguageModelModule, _ClassifierModule):
                patch.delattr(module, "training_step")
            again = train(kind, run.folder)
        assert again.curves.equals(run.curves)
        assert bytes_of(run.folder) == before
