"""`txray prune`: sets, curves, smaller models, several trainings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest
import torch

from tests.builders.hub_folders import folder_of
from txray import Mask, collect, load_model, masked
from txray.cli.main import _exit_code
from txray.corpus import demo_corpus
from txray.models import RecurrentModel, classifier, language_model, save_model
from txray.pruning import Advice, Pruning

Options = tuple[object, ...]
FEW = ("--random-sets", 3, "--resamples", 20, "--permutations", 50)


def txray(*arguments: object) -> int:
    return _exit_code([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Options:
    """Reviews in two splits, of which twelve each are scored."""
    folder = tmp_path_factory.mktemp("reviews")
    for split in ("train", "test"):
        reviews = [
            {"id": review.id, "text": " ".join(review.words), "label": review.labels["label"]}
            for review in demo_corpus("reviews", words=6_000, split=split)
        ]
        pl.DataFrame(reviews).write_csv(folder / f"reviews_{split}.csv")
    return "-f", "imdb", "-t", folder, "--max-documents", 12


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two untrained classifiers, a language model, and their stages on the same text."""
    folder = tmp_path_factory.mktemp("models")
    corpus = demo_corpus("reviews", words=6_000)
    for name, seed in (("before", 1), ("after", 2)):
        encoder = language_model("lstm", corpus, embedding=8, hidden=40, seed=seed)
        with torch.no_grad():
            encoder.embedding.weight.mul_(30)
        save_model(encoder, folder / f"lm-{name}")
        model = classifier(encoder, seed=seed)
        save_model(model, folder / name)
        collect(model, corpus.take_words(3_000), selection="max-1/zscore", name=name).save(
            folder / f"stage-{name}"
        )
    return folder


def stages(place: Path) -> Options:
    return "--before", place / "stage-before", "--stage", place / "stage-after"


def test_the_sets_of_the_paper_are_pruned_and_drawn(
    read: Options, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert txray("prune", "table", place / "after", *read, *stages(place), *FEW, "-o", out) == 0
    told = capsys.readouterr()
    assert "train: 12 documents" in told.out
    assert re.search(
        r"effects: \d+ better and \d+ worse than random sets of the same size, of \d+ compared", told.out
    )
    assert "train: the unpruned model is not better than chance: accuracy" in told.out
    found = Pruning.load(out)
    assert [each.name[0] for each in found.neuron_sets()] == ["A", "B", "C", "D"]
    assert found.effects["split"].unique(maintain_order=True).to_list() == ["train", "test"]
    empty = [each.name for each in found.neuron_sets() if not len(each)]
    assert all(f"set {name}: has no neurons" in told.err for name in empty)
    for figure in ("pruning", "pruning-gap"):
        assert txray("plot", figure, out, "-o", tmp_path / f"{figure}.json", "--metric", "auroc") == 0
        assert "AUROC" in json.loads((tmp_path / f"{figure}.json").read_text())["layout"]["title"]["text"]
    # The same command once more reads nothing and gives the same bytes.
    before = (out / "effects.parquet").read_bytes()
    assert txray("prune", "table", place / "after", *read, *stages(place), *FEW, "-o", out) == 0
    assert (out / "effects.parquet").read_bytes() == before


def test_any_set_is_pruned(read: Options, place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = ("3,5-7", "avoided", "confident-gained", "top-3:mass", "bottom-2:taylor")
    chosen = [argument for name in names for argument in ("--set", name)]
    command = ("prune", "table", place / "after", *read, *stages(place), *FEW, *chosen)
    assert txray(*command, "--split", "test", "-o", out) == 0
    sets = {each.name: each.neurons for each in Pruning.load(out).neuron_sets()}
    assert sets["3,5-7"] == (3, 5, 6, 7)
    assert len(sets["top-3:mass"]) == 3
    assert len(sets["bottom-2:taylor"]) == 2


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
def test_curves_are_pruned_by_all_rankings(read: Options, place: Path, tmp_path: Path, ablation: str) -> None:
    out = tmp_path / "out"
    more = ("--share", 0.2, "--share", 0.6, "--ablation", ablation)
    assert txray("prune", "curve", place / "after", *read, *stages(place), *FEW, *more, "-o", out) == 0
    found = Pruning.load(out)
    rankings = [
        "mass",
        "length",
        "wins",
        "hellinger",
        "signal",
        "magnitude",
        "activation",
        "wanda",
        "taylor",
    ]
    assert found.effects["ranking"].unique(maintain_order=True).to_list() == rankings
    assert found.effects["neurons"].unique().sort().to_list() == [8, 24]
    assert found.summary["ablation"] == ablation
    assert txray("plot", "sparsity", out, "-o", tmp_path / "curve.json") == 0


def test_language_models_are_pruned_by_perplexity(
    read: Options, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ("prune", "curve", place / "lm-after", *read, *FEW, "--share", 0.3, "-o", out)
    assert txray(*command) == 0
    assert "perplexity" in capsys.readouterr().out
    rankings = Pruning.load(out).effects["ranking"].unique(maintain_order=True).to_list()
    assert rankings == ["magnitude", "activation", "wanda", "taylor"]  # there are no stages
    # A dropout has no weights, and nothing reads it as it is.
    command = (
        "prune",
        "curve",
        place / "lm-after",
        *read,
        *FEW,
        "--share",
        0.3,
        "--layer",
        "dropout",
        "-o",
        out,
    )
    assert txray(*command) in (0, 1, 2)
    assert "left out: ranking 'magnitude'" in capsys.readouterr().err


def test_a_smaller_model_is_exported(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for ablation in ("zero", "mean"):
        out = tmp_path / ablation
        command = (
            "prune",
            "export",
            place / "after",
            *stages(place),
            "--set",
            "top-4:mass",
            "--ablation",
            ablation,
        )
        assert txray(*command, "-o", out) == 0
        assert "4 units removed from 1 layer; " in capsys.readouterr().out
        whole, smaller = load_model(place / "after"), load_model(out)
        assert isinstance(whole, RecurrentModel)
        assert isinstance(smaller, RecurrentModel)
        assert smaller.config.hidden == 36
        mask = tmp_path / f"{ablation}.json"
        assert txray(*command, "-o", mask) == 0
        capsys.readouterr()
        ids, lengths = torch.arange(40).reshape(4, 10), torch.tensor([10, 9, 8, 10])
        with masked(whole, Mask.load(mask)):
            wanted = whole(ids, lengths)
        torch.testing.assert_close(smaller(ids, lengths), wanted, atol=1e-5, rtol=0)


def test_several_trainings_are_taken_together(
    read: Options, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outs = []
    for name in ("before", "after"):
        out = tmp_path / name
        assert (
            txray("prune", "table", place / name, *read, *FEW, "--set", "1-5", "--split", "test", "-o", out)
            == 0
        )
        outs.append(out)
    capsys.readouterr()
    for file in (tmp_path / "pooled.csv", tmp_path / "pooled.parquet"):
        assert txray("prune", "pool", *outs, "-o", file) == 0
    assert "1-5" in capsys.readouterr().out
    assert pl.read_parquet(tmp_path / "pooled.parquet")["trainings"].to_list() == [2] * 4


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder with a head that classifies."""
    from transformers import BertConfig, BertForSequenceClassification

    folder = folder_of("bert", tmp_path_factory.mktemp("hub") / "bert")
    config = BertConfig.from_pretrained(folder)
    config.id2label, config.label2id = {0: "NEGATIVE", 1: "POSITIVE"}, {"NEGATIVE": 0, "POSITIVE": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_mlp_neurons_of_a_hugging_face_encoder_are_pruned_by_the_same_command(
    read: Options, bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = "encoder.layer.1.intermediate"
    stage = tmp_path / "stage"
    # Collected without its head, the layer has the same name.
    assert (
        txray(
            "collect", bert, "-f", "demo", "-t", "reviews", "--layer", layer, "--max-words", 500, "-o", stage
        )
        == 0
    )
    common = (bert, *read, "--classes", "neg,pos", *FEW, "--stage", stage)
    out = tmp_path / "out"
    assert txray("prune", "table", *common, "--set", "top-5:mass", "--set", "1,2", "-o", out) == 0
    found = Pruning.load(out)
    assert found.effects["metric"].unique(maintain_order=True).to_list() == [
        "accuracy",
        "f1",
        "auroc",
        "loss",
    ]
    assert found.effects["layer"].unique().to_list() == [layer]
    assert found.effects.filter(pl.col("metric") == "loss")["change"].abs().min() > 0  # type: ignore[operator]
    more = (
        "--ranking",
        "mass",
        "--ranking",
        "wanda",
        "--ranking",
        "taylor",
        "--ranking",
        "magnitude",
        "--share",
        0.5,
    )
    assert txray("prune", "curve", *common, *more, "-o", tmp_path / "curve") == 0
    mask = tmp_path / "mask.json"
    assert txray("prune", "export", bert, "--stage", stage, "--set", "top-5:mass", "-o", mask) == 0
    loaded = Mask.load(mask)
    assert (loaded.layer, len(loaded)) == (layer, 5)
    with masked(load_model(bert), loaded):
        pass
    capsys.readouterr()
    assert txray("prune", "export", bert, "--set", "1", "--layer", layer, "-o", tmp_path / "folder") == 0
    assert "1 of the pruned ones remain as zeros" in capsys.readouterr().out  # the other block keeps all
    assert (
        txray(
            "prune", "table", *common[:-2], "--set", "1", "--layer", layer, "--classes", "bad,good", "-o", out
        )
        == 1
    )
    assert "has label" in capsys.readouterr().err


def test_mlp_neurons_of_a_causal_model_are_pruned_by_perplexity(read: Options, tmp_path: Path) -> None:
    folder = folder_of("gpt2", tmp_path / "gpt2")
    out = tmp_path / "out"
    layer = ("--layer", "h.0.mlp.act")
    rankings = ("--ranking", "wanda", "--ranking", "taylor", "--share", 0.5)
    assert txray("prune", "curve", folder, *read, *FEW, *layer, *rankings, "-o", out) == 0
    assert "perplexity" in Pruning.load(out).effects["metric"].to_list()
    with masked(load_model(folder), Mask("h.0.mlp.act", [1])):
        pass


def test_models_without_a_head_are_told_so(
    read: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of("bert", tmp_path / "bert")
    assert (
        txray("prune", "table", folder, *read, "--set", "1", "--layer", "pooler", "-o", tmp_path / "out") == 2
    )
    error = capsys.readouterr().err
    assert re.search(r"BertModel.* has no score", error)
    assert error.splitlines()[-1].startswith("txray: ")  # what transformers says of writing comes before


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--set", "avoid"), "unknown set (or numbers"),
        (("--set", "90"), "set '90': layer 'rnn' has no neuron 90; its neurons are 0 to 39"),
        (("--set", "0-39"), "40 neurons of layer 'rnn', which has 40"),
        (("--set", "top-90:mass"), "ranking 'mass': needs a stage"),
        (("--set", "avoided"), "is a state between two stages"),
        (("--set", "1", "--layer", "rn"), "unknown layer 'rn'"),
        (("--set", "1", "--set", "1"), "several sets are named '1'"),
        (("--set", "1", "--random-sets", "1"), "n_random_sets=1; one random set"),
        (("--set", "1", "--ablation", "one"), "'one' is not one of 'zero', 'mean', 'resample'"),
        (("--set", "1", "--scope", "last"), "'last' is not one of 'every-step', 'final-state'"),
        (("--set", "1", "--split", "dev"), "unknown split 'dev'"),
        (("--set", "1", "--max-documents", "0"), "max_documents=0"),
        ((), "the paper's sets need two stages"),
        (("--set", "1", "--classes", "neg,pos"), "names the classes of a Hugging Face model"),
        (("--set", "1" * 5_000), "is neither a number nor a range"),
        (("--set", "1", "--random-sets", "100000000"), "n_random_sets=100000000; pass an integer"),
        (
            ("--set", "1", "--ablation", "resample", "--seed", str(1 << 64)),
            "seed=18446744073709551616; pass an integer",
        ),
        (("--before", "stage-before", "--set", "1"), "--before without --stage"),
    ],
)
def test_a_mistake_is_one_line(
    read: Options,
    more: tuple[str, ...],
    told: str,
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert txray("prune", "table", place / "after", *read, *more, "-o", tmp_path / "out") in (1, 2)
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_text_that_cannot_be_read_is_refused_before_stages_are_compared(
    read: Options,
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("txray.analysis.compare", lambda *_, **__: pytest.fail("compared"))
    command = ("prune", "table", place / "after", *read, *stages(place), "--split", "dev")
    assert txray(*command, "-o", tmp_path / "out") == 2
    assert "unknown split 'dev'" in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(
    read: Options, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("prune", "table", place / "after", *read, "--set", "1", "-o", place)
    assert txray(*command) == 1
    assert (place / "after").is_dir()
    assert capsys.readouterr().err.count("\n") == 1


def test_results_do_not_replace_the_folder_that_one_is_in(
    read: Options, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert txray("prune", "table", place / "after", *read, "--set", "1", "-o", ".") == 2
    assert "pass a new folder" in capsys.readouterr().err


def test_states_need_the_same_layer(place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ("prune", "export", place / "after", "--set", "gained", *stages(place), "--layer", "embedding")
    assert txray(*command, "-o", tmp_path / "x") == 2
    assert "unknown layer of stage" in capsys.readouterr().err


def test_no_model_is_replaced_by_a_smaller_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (place / "after" / "model.safetensors").read_bytes()
    assert txray("prune", "export", place / "after", "--set", "1", "-o", place / "after") == 2
    assert "already exists; pass a new folder" in capsys.readouterr().err
    assert (place / "after" / "model.safetensors").read_bytes() == before


def test_activations_for_an_export_need_no_labels(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "plain.jsonl"
    text.write_text("".join(json.dumps({"id": str(i), "text": f"a fine film {i}"}) + "\n" for i in range(9)))
    common = ("prune", "export", place / "after", "--set", "bottom-3:activation")
    assert txray(*common, "-f", "jsonl", "-t", text, "--split", "all", "-o", tmp_path / "smaller") == 0
    capsys.readouterr()
    assert txray(*common, "-t", text, "-o", tmp_path / "other") == 2
    assert "needs both --format and --text" in capsys.readouterr().err


def test_rankings_come_from_training_text_unless_another_is_named(
    read: Options, place: Path, tmp_path: Path
) -> None:
    sets = {}
    for name, more in (
        ("both", ()),
        ("test", ("--split", "test")),
        ("flattered", ("--ranking-split", "test")),
    ):
        out = tmp_path / name
        command = (
            "prune",
            "table",
            place / "after",
            *read,
            *FEW,
            "--set",
            "bottom-5:taylor",
            *more,
            "-o",
            out,
        )
        assert txray(*command) == 0
        (found,) = Pruning.load(out).neuron_sets()
        sets[name] = found.neurons
    assert sets["both"] == sets["test"] != sets["flattered"]


def test_a_text_without_splits_is_pruned_whole_and_its_groups_are_counted(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "labelled.jsonl"
    lines = [
        {
            "id": str(i),
            "text": f"a fine film {i}",
            "labels": {"label": ("neg", "pos")[i % 2]},
            "group": f"book {i // 4}",
        }
        for i in range(12)
    ]
    text.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "out"
    command = (
        "prune",
        "curve",
        place / "after",
        "-f",
        "jsonl",
        "-t",
        text,
        "--split",
        "all",
        *FEW,
        "--share",
        0.3,
    )
    assert txray(*command, "-o", out) == 0
    summary = Pruning.load(out).summary["texts"]["all"]
    assert (summary["documents"], summary["groups"]) == (12, 3)
    assert "12 documents in 3 groups" in capsys.readouterr().out


def test_stages_of_another_model_are_told(
    read: Options, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("prune", "table", place / "after", *read, *FEW, "--split", "test", "--set", "top-3:mass")
    assert txray(*command, "--stage", place / "stage-after", "-o", tmp_path / "a") == 0
    assert "was not collected from this model" not in capsys.readouterr().err
    assert txray(*command, "--stage", place / "stage-before", "-o", tmp_path / "b") == 0
    assert "stage 'before' was not collected from this model" in capsys.readouterr().err
    assert txray("prune", "export", place / "after", "--set", "0-9", "-o", tmp_path / "smaller") == 0
    smaller = ("prune", "table", tmp_path / "smaller", *read, *FEW, "--set", "top-3:mass")
    assert txray(*smaller, "--stage", place / "stage-after", "-o", tmp_path / "c") == 2
    assert "scores of 40 neurons, layer 'rnn' of the model has 30" in capsys.readouterr().err


def test_advice_is_given_saved_and_exported(
    place: Path, read: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, small = tmp_path / "advice", tmp_path / "small"
    few = ("--split", "test", "--choose-split", "train", "--max-documents", 60, "--lose-at-most", 60)
    assert txray("prune", "advise", place / "after", *read, *few, "-o", out) == 0
    printed = capsys.readouterr().out
    advice = Advice.load(out)
    assert advice.sentence in printed
    (mask,) = advice.masks()
    assert txray("prune", "export", place / "after", "--advice", out, "-o", small) == 0
    assert f"{len(mask)} units removed" in capsys.readouterr().out
    smaller = load_model(small)
    assert isinstance(smaller, RecurrentModel)
    assert smaller.config.hidden == 40 - len(mask)
    assert txray("prune", "advise", place / "after", *read, *few, "--heads", "-o", tmp_path / "heads") == 2
    assert "no attention heads" in capsys.readouterr().err
    assert not (tmp_path / "heads").exists()
    few = (*few[:-1], 0.01)
    assert txray("prune", "advise", place / "after", *read, *few, "-o", tmp_path / "none") == 0
    assert ("prune export" in capsys.readouterr().out) == (len(Advice.load(tmp_path / "none").masks()) > 0)
    # On another model, the advice is worth nothing.
    assert txray("prune", "export", place / "lm-after", "--advice", out, "-o", tmp_path / "other") == 2
    assert "is advice on another model" in capsys.readouterr().err


def test_an_export_needs_exactly_one_choice_of_neurons(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = Mask("rnn", (1, 2)).save(tmp_path / "mask.json")
    model, out = place / "after", tmp_path / "out"
    for choice in ((), ("--set", "1", "--mask", mask)):
        assert txray("prune", "export", model, *choice, "-o", out) == 2
        assert "pass one of --set, --mask and --advice" in capsys.readouterr().err
    assert txray("prune", "export", model, "--mask", mask, "-o", tmp_path / "again.json") == 2
    assert txray("prune", "export", model, "--mask", mask, "-o", out) == 0
    assert txray("prune", "export", model, "--mask", mask, "-o", out) in (1, 2)
    assert "already exists" in capsys.readouterr().err


def test_verdicts_are_printed_with_what_could_have_been_seen(
    read: Options, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("prune", "table", place / "after", *read, *FEW, "--set", "1-5", "--split", "test")
    assert txray(*command, "--smallest-effect", 40, "-o", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "all effects together (5% family-wise error" in printed
    wanted = Pruning.load(tmp_path / "out").verdicts(40)
    for verdict in set(wanted["change_verdict"]):
        assert verdict in printed
    assert txray(*command, "--smallest-effect", -1, "-o", tmp_path / "out") == 2
