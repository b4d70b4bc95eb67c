"""The public surface: exactly these names, and a light import."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import txray
from txray import errors

PUBLIC = """
    CollectSpec Comparison ConceptRanking Corpus Dashboard Decomposition Document Layer LayerSimilarity
    Mask Matching ModelMatching Persistence Preferences Pruning SaveActivations Selection Stage
    StageFolder StoredActivations SyntheticPair Tagger TextModel Timeline Tracker __version__ activations
    analysis capture collect compare corpus decompose demo_corpus engines errors experiment
    layer_similarity load_autoencoder load_model masked match match_models models output_tokens
    persistence plots preferences prune pruning rank_neurons read_activations read_corpus replay report
    serve synthetic synthetic_pair timeline token_tags tracking training web
"""
PACKAGES = """
    activations analysis capture corpus engines experiment models plots preferences pruning synthetic tracking
    tracking.loggers training web.dashboard web.report
"""


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_public_names_are_these() -> None:
    assert sorted(txray.__all__) == sorted(PUBLIC.split())
    for name in PUBLIC.split():
        assert getattr(txray, name) is not None
    assert dir(txray) == sorted(PUBLIC.split())


def test_version_is_that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    assert txray.__version__ == project["version"]


@pytest.mark.parametrize("package", ["", *PACKAGES.split()])
def test_type_checkers_see_the_names_that_are_imported_on_first_use(package: str) -> None:
    module = importlib.import_module(f"txray.{package}".rstrip("."))
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    blocks = [
        node.body
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    if "attach" not in vars(module):
        assert blocks == []
        return
    (block,) = blocks
    imports = [alias for node in block if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert all(alias.asname == alias.name for alias in imports)
    assert sorted(alias.name for alias in imports) == module.__all__


@pytest.mark.parametrize("package", PACKAGES.split())
def test_every_name_that_a_package_promises_exists(package: str) -> None:
    module = __import__(f"txray.{package}", fromlist=["__all__"])
    for name in module.__all__:
        assert getattr(module, name) is not None, name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'colect'"):
        _ = txray.colect


def test_importing_txray_brings_in_nothing_heavy() -> None:
    tables = {"polars", "pandas", "pyarrow", "datasets", "scipy"}
    heavy = tables | {"torch", "plotly", "spacy", "lightning", "pycrfsuite", "rich", "ray"}
    assert run_python(f"import sys, txray; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_what_works_on_saved_results_needs_no_torch() -> None:
    uses = (
        *("txray.preferences", "txray.analysis", "txray.plots", "txray.engines.worker"),
        *(
            "txray.pruning.Pruning.load",
            "txray.pruning.pool_runs",
            "txray.pruning.Mask",
            "txray.pruning.in_state",
        ),
    )
    code = f"""
import pkgutil, sys
for use in {uses}:
    pkgutil.resolve_name(use)
    if 'torch' in sys.modules:
        print(use)
        break
"""
    assert run_python(code) == "", "needs torch, the first of them that does"


def test_commands_are_listed_without_anything_heavy() -> None:
    heavy = "{'torch', 'plotly', 'polars', 'spacy', 'lightning', 'pycrfsuite', 'scipy', 'numpy'}"
    assert run_python(f"import sys, txray.cli.main; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_every_error_has_a_place_in_the_tree() -> None:
    documented = errors.__doc__ or ""
    for name, member in vars(errors).items():
        if isinstance(member, type) and issubclass(member, Exception):
            assert name in documented
            if issubclass(member, Warning):
                continue
            assert issubclass(member, errors.TxrayError)
            assert member.exit_code == (2 if issubclass(member, errors.UsageError) else 1)


def test_unknown_names_get_the_closest_one_and_the_list() -> None:
    error = errors.UnknownNameError.of("layer", "rn", ["embedding", "rnn"])
    assert str(error) == "unknown layer 'rn' (did you mean 'rnn'?); there are: embedding, rnn"
    many = errors.UnknownNameError.of("layer", "x", [f"layer{i}" for i in range(50)])
    assert "50 in all" in str(many)
    assert "none" in str(errors.UnknownNameError.of("layer", "x", []))
