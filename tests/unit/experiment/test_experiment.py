from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import false_discovery_control

from tests.builders.tiny_experiment import TINY
from txray.analysis import Timeline
from txray.analysis.states import SAME_WEIGHTS
from txray.errors import CorpusError, UsageError
from txray.experiment import DemoSources, ExperimentResult, run_experiment, write_results
from txray.experiment.comparisons import PaperComparisons, pretraining_timeline
from txray.experiment.paper_table import Row, markdown, rows
from txray.experiment.pruning import PruningResults, pruning_table
from txray.experiment.run import stage_name
from txray.experiment.significance_table import significance_table
from txray.experiment.sources import RealSources, split_off_validation
from txray.preferences import Stage
from txray.pruning import Pruning


def quiet(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    folder = tmp_path_factory.mktemp("experiment") / "tiny"
    return run_experiment(TINY, DemoSources(), folder, device="cpu", log=quiet)


@pytest.fixture(scope="module")
def epochs(result: ExperimentResult) -> Timeline:
    return pretraining_timeline(result)


@pytest.fixture(scope="module")
def table(result: ExperimentResult, epochs: Timeline) -> dict[str, Row]:
    return {row.quantity: row for row in rows(result, PaperComparisons.of(result), epochs)}


def test_the_epochs_are_followed_beside_the_validation_text(
    result: ExperimentResult, epochs: Timeline
) -> None:
    assert epochs.names == [stage.name for stage in result.epochs.values()]
    assert list(result.epochs) == [0, 1, 2, 3]
    curves = result.pretraining.curves.filter(pl.col("split") == "validation").sort("epoch")
    assert epochs.stages["perplexity"].to_list() == curves["perplexity"].to_list()
    assert {stage.manifest["words"] for stage in result.epochs.values()} == {TINY.collection_words}


def test_the_epochs_tell_of_perplexity_and_parts_of_speech(table: dict[str, Row], epochs: Timeline) -> None:
    key = "rank correlation of neuron change and perplexity change, by epoch"
    found = epochs.correlation("perplexity")
    assert found.rho is None or f"(rho = {found.rho:.2f}, p = {found.p_value:.2g}, " in table[key].ours
    closer = int((false_discovery_control(epochs.stages["pos_p_value"].to_numpy()) <= 0.05).sum())
    key = "POS: epochs in which mass tracks tags significantly better than shuffled tags (5% FDR)"
    assert table[key].ours == f"{closer} of 4"
    steps = epochs.changes.filter(pl.col("reference") == "previous")
    first, last = steps.row(0, named=True), steps.row(-1, named=True)
    wanted = f"{first['changed']} of {first['tested']} / {last['changed']} of {last['tested']}"
    assert table["changed neurons, first / last epoch of the timeline"].ours == wanted


def test_what_is_more_than_chance_has_a_row_per_comparison(result: ExperimentResult) -> None:
    comparisons = PaperComparisons.of(result)
    table, _, note = significance_table(comparisons).rpartition("\n\n")
    # One model read both texts.
    assert note.strip() == f"pretraining text → reviews: {SAME_WEIGHTS}"
    lines = table.splitlines()[2:]
    assert len(lines) == 8
    for line, (what, kind) in zip(
        lines, product(("first", "last", "domain", "supervision"), ("token", "pos")), strict=True
    ):
        comparison = getattr(comparisons, what)[kind]
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        assert cells[1] == kind
        assert cells[2] == f"{comparison.summary['changed']} of {comparison.summary['tested']}"
        assert cells[3] == f"{comparison.summary['confident_avoided']} of {comparison.summary['avoided']}"
        tested = comparison.neurons.filter(pl.col("p_value").is_not_null())
        assert len(tested) == comparison.summary["tested"]
        matched, null, plain = (
            f"{tested[name].mean():.2f}" for name in ("distance_matched", "distance_null", "hellinger")
        )
        assert cells[5:7] == [matched, null]
        lengths = [
            [tested[f"{name}_{side}"].mean() for side in ("before", "after")]
            for name in ("rarefied_length", "length")
        ]
        assert cells[8:10] == [f"{before:.0f} → {after:.0f}" for before, after in lengths]
        assert cells[10] == plain
        value, low, high = (comparison.summary[f"hellinger_corrected{end}"] for end in ("", "_low", "_high"))
        assert cells[7] == ("not known" if value is None else f"{value:.2f} ({low:.2f} to {high:.2f})")


def test_stages_tell_the_story_in_order(result: ExperimentResult) -> None:
    best = result.pretraining.best_epoch
    names = list(result.stages)
    assert names[0] == "untrained"
    assert names[-3:] == ["unsup", "zero-shot", "sup"]
    assert stage_name(best, best) == "unsup"
    for stage in result.stages.values():
        assert stage.manifest["words"] == TINY.collection_words
        assert stage.feature_types == ("token", "pos")


def test_zero_shot_is_the_same_model_on_the_text_of_sup(result: ExperimentResult) -> None:
    unsup, zero, sup = (result.stages[name].manifest for name in ("unsup", "zero-shot", "sup"))
    assert unsup["model"]["fingerprint"] == zero["model"]["fingerprint"] != sup["model"]["fingerprint"]
    assert zero["corpus"]["documents_digest"] == sup["corpus"]["documents_digest"]
    assert unsup["corpus"]["documents_digest"] != zero["corpus"]["documents_digest"]


def test_table_states_what_the_stages_hold(result: ExperimentResult, table: dict[str, Row]) -> None:
    lengths = {name: result.stages[name].preferences().lengths() for name in result.stages}
    zero, sup = lengths["zero-shot"], lengths["sup"]
    shared = int(((zero > 0) & (sup > 0)).sum())
    assert table["shared neurons"].ours == f"{shared} of 20 ({100 * shared / 20:.1f}%)"
    assert table["avoided neurons"].ours.startswith(f"{int(((zero > 0) & (sup == 0)).sum())} of 20")
    assert table["gained neurons"].ours.startswith(f"{int(((zero == 0) & (sup > 0)).sum())} of 20")
    change = sup.sum() / zero.sum() - 1
    assert table["token length of all neurons"].ours == f"{change:+.2%}"
    mass = np.sort(result.stages["sup"].preferences().mass())[::-1]
    key = "share of the mass in the 20 most preferred neurons, supervised"
    assert table[key].ours == f"{mass[:20].sum() / mass.sum():.2%}"


def test_table_has_the_figures_of_the_paper(table: dict[str, Row]) -> None:
    papers = " ".join(row.paper for row in table.values())
    for figure in (
        "544",
        "1335",
        "944.76",
        "524.55",
        "519.34",
        "-99.92%",
        "1323",
        "675",
        "740",
        "85",
        "+4.62%",
    ):
        assert figure in papers
    assert all(row.ours not in ("", "nan") for row in table.values())


def test_f1_is_that_of_the_best_epoch(result: ExperimentResult, table: dict[str, Row]) -> None:
    run = result.fine_tuning
    best = run.curves.filter((pl.col("epoch") == run.best_epoch) & (pl.col("split") == "test"))["f1"].item()
    assert table["F1 of the classifier (test)"].ours == f"{best:.2%}"


@pytest.fixture(scope="module")
def written(result: ExperimentResult, chromium: str) -> Path:
    """The folder with results, figures and pictures."""
    page = write_results(result, DemoSources(), log=quiet)
    assert page == result.folder / "report.html"
    return result.folder


def test_results_hold_comparisons_figures_and_their_pictures(written: Path) -> None:
    comparisons = sorted(path.parent.name for path in (written / "comparisons").glob("*/token"))
    assert comparisons == ["rq1-first-to-best", "rq1-last-to-best", "rq2-domain", "rq3-supervision"]
    figures = {file.stem for file in (written / "figures").glob("*.json")}
    assert len(figures) >= 14
    for name in figures:
        drawn = json.loads((written / "figures" / f"{name}.json").read_text())
        # Where there is nothing to draw, e.g. no gained neuron, the figure says so in words.
        assert drawn["data"] or len(drawn["layout"]["annotations"]) > 1, name
    assert {file.stem for file in (written / "figures").glob("*.png")} == figures


def test_without_a_browser_results_are_written_once_more_to_the_same_bytes(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {name: (written / name).read_bytes() for name in ("results.md", "report.html")}
    monkeypatch.setenv("BROWSER_PATH", "/no/browser")
    messages: list[str] = []
    again = run_experiment(TINY, DemoSources(), written, device="cpu", log=quiet)
    write_results(again, DemoSources(), log=messages.append)
    assert [line for line in messages if "no PNG files" in line and "BROWSER_PATH" in line]
    for name, content in first.items():
        assert (written / name).read_bytes() == content, name


def test_a_classifier_that_finds_nothing_has_no_share_to_lose(
    written: Path, result: ExperimentResult
) -> None:
    sets, curves = (Pruning.load(written / "pruning" / name) for name in ("sets", "curves"))
    supervision = PaperComparisons.of(result).supervision["token"]
    assert "% (" in pruning_table(PruningResults(sets, curves), supervision)
    nothing = replace(sets, effects=sets.effects.with_columns(unpruned=pl.lit(0.0)))
    told = pruning_table(PruningResults(nothing, curves), supervision)
    assert "(whole model 0.00%) | - | " in told
    assert "nan" not in told


def test_finished_steps_are_not_done_again(result: ExperimentResult) -> None:
    messages: list[str] = []
    folder = result.folder / "stages" / "zero-shot"
    before = folder.stat().st_mtime_ns
    run_experiment(TINY, DemoSources(), result.folder, device="cpu", log=messages.append)
    assert not [line for line in messages if line.startswith("collecting")]
    assert folder.stat().st_mtime_ns == before
    assert Stage.load(folder).preferences().table().equals(result.stages["zero-shot"].preferences().table())


def test_a_folder_of_another_experiment_is_refused(result: ExperimentResult) -> None:
    with pytest.raises(UsageError, match=r"experiment with settings.hidden=20 \(requested: 24\)"):
        run_experiment(replace(TINY, hidden=24), DemoSources(), result.folder, log=quiet)
    with pytest.raises(UsageError, match=r"seed='0' \(requested: '5'\)"):
        run_experiment(TINY, DemoSources(5), result.folder, log=quiet)


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="does not hold an experiment"):
        run_experiment(TINY, DemoSources(), tmp_path, log=quiet)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_wrong_text_is_told_before_the_folder_is_claimed(tmp_path: Path) -> None:
    treebank = tmp_path / "en-train.conllu"
    treebank.write_text("1\tx\tx\tX\tNN\t_\t0\troot\t_\t_\n\n")
    with pytest.raises(CorpusError, match="nowhere"):
        RealSources(tmp_path / "nowhere", tmp_path / "nowhere", tmp_path / "nowhere")
    sources = RealSources(tmp_path / "nowhere", tmp_path / "nowhere", tmp_path)
    with pytest.raises(CorpusError, match="nowhere"):
        run_experiment(TINY, sources, tmp_path / "out", log=quiet)
    assert not (tmp_path / "out").exists()


def test_a_tenth_of_the_reviews_is_held_out() -> None:
    corpus = DemoSources().reviews("train").head(600)
    train, validation = split_off_validation(corpus)
    kept = [[document.id for document in part] for part in (train, validation)]
    assert sorted(kept[0] + kept[1]) == sorted(document.id for document in corpus)
    assert 30 <= len(kept[1]) <= 100
    assert train.fingerprint != validation.fingerprint


def test_markdown_is_one_line_per_row() -> None:
    text = markdown([Row("RQ1", "shared", "544", "49")])
    assert text.splitlines()[-1] == "| RQ1 | shared | 544 | 49 |"


@pytest.mark.data
def test_real_sources_find_the_parts_of_each_data_set(data_folder: Path, tmp_path: Path) -> None:
    for imdb in (data_folder / "imdb", data_folder / "imdb" / "aclImdb_subset.tar.gz"):
        sources = RealSources(data_folder / "wikitext-2", imdb, data_folder / "ud-ewt")
        for split in ("train", "validation", "test"):
            labels = {document.labels["label"] for document in sources.reviews(split).head(40)}
            assert labels == {"pos", "neg"}
    assert next(iter(sources.pretraining("validation"))).id.startswith("wiki/valid")
