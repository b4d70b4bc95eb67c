"""Calls that a newcomer would try: each works, or raises one line that names the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import transformers

import txray
from tests.builders.hub_folders import folder_of
from tests.builders.stages import story
from txray import plots
from txray.capture import layer_shapes
from txray.errors import TxrayError
from txray.models import from_transformers
from txray.pruning import NeuronSet

QUICK: dict[str, Any] = {"permutations": 0}


@pytest.fixture(scope="module")
def stages() -> list[txray.Stage]:
    return story()[:3]


@pytest.fixture(scope="module")
def folder(stages: list[txray.Stage], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three stages."""
    parent = tmp_path_factory.mktemp("stages")
    for stage in stages:
        stage.save(parent / stage.name)
    return parent


@pytest.fixture(scope="module")
def comparison(stages: list[txray.Stage]) -> txray.Comparison:
    return txray.compare(stages[0], stages[-1], permutations=50)


Call = Callable[[list[txray.Stage], Path, txray.Comparison], Any]

WORKING: dict[str, Call] = {
    "compare paths": lambda s, f, c: txray.compare(str(f / s[0].name), str(f / s[1].name), **QUICK),
    "compare a path with a stage": lambda s, f, c: txray.compare(f / s[0].name, s[1], **QUICK),
    "compare preferences": lambda s, f, c: txray.compare(s[0]["rnn", "token"], s[1]["rnn", "token"], **QUICK),
    "compare by name": lambda s, f, c: txray.compare(before=s[0], after=s[1], layer="rnn", **QUICK),
    "compare parts of speech": lambda s, f, c: txray.compare(s[0], s[1], feature_type="pos", **QUICK),
    "match paths": lambda s, f, c: txray.match(f / s[0].name, f / s[1].name, min_wins=1),
    "timeline of a folder": lambda s, f, c: txray.timeline(f, **QUICK),
    "timeline of a folder by its name": lambda s, f, c: txray.timeline(str(f), **QUICK),
    "timeline of paths": lambda s, f, c: txray.timeline([f / stage.name for stage in s], **QUICK),
    "timeline of a tuple": lambda s, f, c: txray.timeline(tuple(s), **QUICK),
    "timeline of one layer": lambda s, f, c: txray.timeline(s, layers="rnn", **QUICK),
    "timeline of a pattern": lambda s, f, c: txray.timeline(s, layers="*", **QUICK),
    "timeline of a list of layers": lambda s, f, c: txray.timeline(s, layers=["rnn"], **QUICK),
    "load": lambda s, f, c: txray.Stage.load(f / s[0].name),
    "changed": lambda s, f, c: c.changed(),
    "changed as pandas": lambda s, f, c: c.changed().to_pandas(),
    "neurons as pandas": lambda s, f, c: c.neurons.to_pandas(),
    "neuron": lambda s, f, c: c.neuron(13),
    "words of a neuron": lambda s, f, c: c.neuron(13).words[1].head(),
    "neuron of a stage": lambda s, f, c: s[0].neuron(13),
    "plot": lambda s, f, c: c.plot(),
    "plot by name": lambda s, f, c: c.plot("volcano"),
    "plot a neuron": lambda s, f, c: c.neuron(13).plot(),
    "plot a timeline": lambda s, f, c: txray.timeline(s, **QUICK).plot(),
    "report of paths": lambda s, f, c: txray.report(
        [f / s[0].name, f / s[1].name], f.parent / "r.html", permutations=0
    ),
    "report of a folder": lambda s, f, c: txray.report(str(f), str(f.parent / "r2.html"), permutations=0),
    "stage by index": lambda s, f, c: s[0]["rnn", "token"],
    "affinity of paths": lambda s, f, c: txray.analysis.layer_affinity(f / s[0].name, s[1], min_wins=1),
    "test again": lambda s, f, c: c.test(permutations=20, fdr=0.1),
}

REFUSED: dict[str, tuple[Call, str]] = {
    "positional feature type": (
        lambda s, f, c: txray.compare(s[0], s[1], "token"),  # type: ignore[misc]
        r"compare\(before, after, layer=..., feature_type=",
    ),
    "a list of stages": (lambda s, f, c: txray.compare(s), r"missing .*'after'.*compare\(before, after"),  # type: ignore[call-arg, arg-type]
    "the former keyword": (
        lambda s, f, c: txray.compare(s[0], s[1], level=0.05),  # type: ignore[call-arg]
        "'level'.*fdr=",
    ),
    "None": (lambda s, f, c: txray.compare(None, s[0]), "expected one stage, got None"),  # type: ignore[arg-type]
    "a missing folder": (lambda s, f, c: txray.compare(f / "nowhere", s[0]), "nowhere"),
    "a folder of stages as one": (lambda s, f, c: txray.compare(f, s[0]), "stage"),
    "an unknown layer": (lambda s, f, c: txray.compare(s[0], s[1], layer="rn"), "did you mean 'rnn'"),
    "an unknown feature type": (
        lambda s, f, c: txray.compare(s[0], s[1], feature_type="tokens"),
        "did you mean 'token'",
    ),
    "swapped names": (
        lambda s, f, c: txray.compare(s[0], s[1], layer="token", feature_type="rnn"),
        "there are: rnn",
    ),
    "an unknown weight": (lambda s, f, c: txray.compare(s[0], s[1], weight="sum"), "mean, mass, count"),  # type: ignore[arg-type]
    "an unknown distance": (lambda s, f, c: txray.compare(s[0], s[1], distance="cosine"), "hellinger"),  # type: ignore[arg-type]
    "a neuron by its name": (lambda s, f, c: c.neuron("13"), "integer"),  # type: ignore[arg-type]
    "a neuron too far": (lambda s, f, c: c.neuron(10_000), "0 to 59"),
    "an unknown figure": (lambda s, f, c: c.plot("scatter"), "hellinger_length, volcano"),
    "a timeline of one": (lambda s, f, c: txray.timeline(s[0], **QUICK), "at least two"),
    "a timeline of positional layers": (
        lambda s, f, c: txray.timeline(s, "rnn"),  # type: ignore[misc]
        r"timeline\(stages, layers=",
    ),
    "a timeline of no layer": (lambda s, f, c: txray.timeline(s, layers="lstm", **QUICK), "there are: rnn"),
    "a timeline of numbers": (lambda s, f, c: txray.timeline([1, 2]), "got a int|got an int"),  # type: ignore[list-item]
    "positional layers of match": (
        lambda s, f, c: txray.match(s[0], s[1], "rnn", "rnn"),  # type: ignore[misc]
        r"layer=..., layer_after=",
    ),
    "untested changes": (
        lambda s, f, c: txray.compare(s[0], s[1], **QUICK).changed(),
        r"comparison\.test\(\)",
    ),
    "untested volcano": (lambda s, f, c: txray.compare(s[0], s[1], **QUICK).plot("volcano"), "test"),
    "a report of one stage": (lambda s, f, c: txray.report([s[0]], f.parent / "x.html"), "at least two"),
    "a folder that holds nothing": (lambda s, f, c: txray.Comparison.load(f), "Comparison.save"),
    "a volcano of two stages": (
        lambda s, f, c: plots.volcano(s[0], s[1]),  # type: ignore[call-arg, arg-type]
        r"volcano\(comparison\)",
    ),
    "a positional layer of a stage": (
        lambda s, f, c: s[0].preferences("rnn"),  # type: ignore[misc]
        r"preferences\(layer=..., feature_type=",
    ),
}


@pytest.mark.parametrize("name", list(WORKING))
def test_natural_calls_work(
    name: str, stages: list[txray.Stage], folder: Path, comparison: txray.Comparison
) -> None:
    assert WORKING[name](stages, folder, comparison) is not None


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_be_meant_names_the_remedy(
    name: str, stages: list[txray.Stage], folder: Path, comparison: txray.Comparison
) -> None:
    call, remedy = REFUSED[name]
    with pytest.raises(TxrayError, match=remedy) as caught:
        call(stages, folder, comparison)
    assert "\n" not in str(caught.value)


def test_paths_and_stages_give_the_same(stages: list[txray.Stage], folder: Path) -> None:
    in_memory = txray.compare(stages[0], stages[1], permutations=30)
    on_disk = txray.compare(folder / stages[0].name, folder / stages[1].name, permutations=30)
    assert in_memory.neurons.equals(on_disk.neurons)
    assert in_memory.summary == on_disk.summary
    assert isinstance(on_disk.neurons, pl.DataFrame)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of("bert", tmp_path_factory.mktemp("hub") / "bert")


ModelCall = Callable[[Any, Any, txray.Corpus, Path], Any]
LAYER = "encoder.layer.0"

WITH_A_MODEL: dict[str, ModelCall] = {
    "collect a folder": lambda m, t, c, f: txray.collect(f, c, layers=LAYER, name="s"),
    "collect a pipeline": lambda m, t, c, f: txray.collect(pipeline_of(m, t), c, layers=LAYER, name="s"),
    "layers of a folder": lambda m, t, c, f: layer_shapes(str(f), LAYER),
    "similarity of a folder and a pipeline": lambda m, t, c, f: txray.layer_similarity(
        f, pipeline_of(m, t), c, layers=LAYER
    ),
    "a pipeline as a text model": lambda m, t, c, f: from_transformers(pipeline_of(m, t)),
    "a pipeline with a tokenizer": lambda m, t, c, f: from_transformers(pipeline_of(m, t), t, window=9),
}
WITHOUT_A_MODEL: dict[str, tuple[ModelCall, str]] = {
    "collect a bare model": (
        lambda m, t, c, f: txray.collect(m, c, layers=LAYER, name="s"),
        r"from_transformers\(model, tokenizer\)",
    ),
    "collect a tokenizer": (
        lambda m, t, c, f: txray.collect(t, c, layers=LAYER, name="s"),
        r"from_transformers\(model, tokenizer\)",
    ),
    "collect a pair": (lambda m, t, c, f: txray.collect((m, t), c, layers=LAYER, name="s"), "tuple"),
    "collect a folder that is missing": (
        lambda m, t, c, f: txray.collect("nowhere", c, layers=LAYER, name="s"),
        "hf:nowhere",
    ),
    "collect nothing": (lambda m, t, c, f: txray.collect(None, c, layers=LAYER, name="s"), "NoneType"),
    "a text model without a tokenizer": (
        lambda m, t, c, f: from_transformers(m),
        r"from_transformers\(model, tokenizer\)",
    ),
    "load an object": (lambda m, t, c, f: txray.load_model(m), "txray.collect"),
    "a base for no adapter": (lambda m, t, c, f: txray.load_model(f, base=f), "omit base"),
    "prune without a task": (
        lambda m, t, c, f: txray.prune(pipeline_of(m, t), [NeuronSet("s", LAYER, [1])], {"all": c}),
        "task",
    ),
}


def pipeline_of(model: Any, tokenizer: Any) -> Any:
    return transformers.pipeline("feature-extraction", model=model, tokenizer=tokenizer)


@pytest.mark.parametrize("name", [*WITH_A_MODEL, *WITHOUT_A_MODEL])
def test_natural_calls_with_models(name: str, bert: Path) -> None:
    model = transformers.AutoModel.from_pretrained(bert)
    given = (model, transformers.AutoTokenizer.from_pretrained(bert), txray.demo_corpus("reviews", words=60))
    if name in WITH_A_MODEL:
        assert WITH_A_MODEL[name](*given, bert) is not None
        return
    call, remedy = WITHOUT_A_MODEL[name]
    with pytest.raises(TxrayError, match=remedy) as caught:
        call(*given, bert)
    assert "\n" not in str(caught.value)
