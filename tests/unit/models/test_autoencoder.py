"""Folders of sparse autoencoders in the format of SAELens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.builders.autoencoders import ARCHITECTURES, latents_of, write_autoencoder
from txray.errors import SnapshotError, TxrayError, UsageError
from txray.models import load_autoencoder

ROWS = torch.randn((30, 8), generator=torch.Generator().manual_seed(7))


def config_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "cfg.json").read_text())
    return content


def changed(folder: Path, **settings: Any) -> None:
    (folder / "cfg.json").write_text(json.dumps(config_of(folder) | settings))


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "batchtopk"])
@pytest.mark.parametrize("subtracted", [True, False])
def test_latents_are_those_of_the_formulas(architecture: str, subtracted: bool, tmp_path: Path) -> None:
    options = {} if architecture == "transcoder" else {"apply_b_dec_to_input": subtracted}
    weights = write_autoencoder(tmp_path / "sae", architecture, **options)
    encoder = load_autoencoder(tmp_path / "sae")
    expected = latents_of(weights, config_of(tmp_path / "sae"), ROWS)
    assert 0 < int((expected > 0).sum()) < expected.numel()
    assert torch.allclose(encoder.encode(ROWS), expected, atol=1e-5)
    assert torch.equal(encoder(ROWS) > 0, expected > 0)
    assert torch.equal(encoder.encode(ROWS.reshape(5, 6, 8)).reshape(30, -1), encoder.encode(ROWS))


def test_settings_of_older_and_newer_versions_are_read(tmp_path: Path) -> None:
    weights = write_autoencoder(tmp_path / "sae", "standard")
    folder = tmp_path / "sae"
    pre = (ROWS - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    changed(folder, activation_fn_str="topk", activation_fn_kwargs={"k": 5}, dtype="torch.float32")
    assert (load_autoencoder(folder).encode(ROWS) > 0).sum(dim=1).max() == 5
    changed(folder, activation_fn_str="tanh-relu", metadata={"hook_name": "blocks.1.hook_mlp_out"})
    encoder = load_autoencoder(folder)
    assert torch.allclose(encoder.encode(ROWS), pre.relu().tanh(), atol=1e-5)
    assert (encoder.hook_name, encoder.name) == ("blocks.1.hook_mlp_out", "sae")
    changed(folder, activation_fn_str="relu", dtype="bfloat16")
    assert load_autoencoder(folder).encode(ROWS).dtype is torch.bfloat16


@pytest.mark.parametrize("normalization", ["constant_norm_rescale", "layer_norm"])
def test_inputs_are_normalized(normalization: str, tmp_path: Path) -> None:
    weights = write_autoencoder(tmp_path / "sae", normalize_activations=normalization)
    rows = ROWS / ROWS.norm(dim=1, keepdim=True) * 8**0.5
    if normalization == "layer_norm":
        rows = (ROWS - ROWS.mean(dim=1, keepdim=True)) / (ROWS.std(dim=1, keepdim=True) + 1e-5)
    expected = latents_of(weights, config_of(tmp_path / "sae"), rows)
    assert torch.allclose(load_autoencoder(tmp_path / "sae").encode(ROWS), expected, atol=1e-5)


def test_inputs_are_scaled_and_centered(tmp_path: Path) -> None:
    folder = tmp_path / "sae"
    weights = write_autoencoder(folder, normalize_activations="expected_average_only_in")
    config = config_of(folder)
    with pytest.raises(UsageError, match="pass input_scale"):
        load_autoencoder(folder)
    scaled = load_autoencoder(folder, input_scale=0.5).encode(ROWS)
    assert torch.allclose(scaled, latents_of(weights, config, ROWS / 2), atol=1e-5)
    changed(
        folder,
        normalize_activations="none",
        model_from_pretrained_kwargs={"center_writing_weights": True},
    )
    centered = latents_of(weights, config, ROWS - ROWS.mean(dim=1, keepdim=True))
    assert torch.allclose(load_autoencoder(folder).encode(ROWS), centered, atol=1e-5)
    assert not torch.allclose(load_autoencoder(folder, center=False).encode(ROWS), centered, atol=1e-2)


def test_a_training_folder_has_one_threshold_and_norms_of_the_decoder(tmp_path: Path) -> None:
    folder = tmp_path / "sae"
    weights = write_autoencoder(folder, "batchtopk", rescale_acts_by_decoder_norm=True)
    del weights["threshold"]
    save_file(weights | {"topk_threshold": torch.tensor(0.7)}, folder / "sae_weights.safetensors")
    pre = (ROWS - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    pre = pre * weights["W_dec"].norm(dim=1)
    assert torch.allclose(load_autoencoder(folder).encode(ROWS), pre * (pre > 0.7), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"architecture": "temporal"}, "temporal.*standard, gated"),
        ({"architecture": ["standard"]}, "standard"),
        ({"d_sae": 41}, r"W_enc has shape \(8, 40\).*\(8, 41\)"),
        ({"d_in": -1}, "d_in=-1"),
        ({"d_in": True}, "d_in=True"),
        ({"d_sae": 10**30}, "d_sae=1000"),
        ({"d_sae": None}, "d_sae=None"),
        ({"dtype": "int8"}, "int8"),
        ({"activation_fn_str": "__import__('os')"}, "__import__"),
        ({"normalize_activations": "other"}, "other"),
        ({"architecture": "topk"}, "k=None"),
        ({"architecture": "topk", "k": 99}, "k=99"),
        ({"architecture": "jumprelu"}, "lacks weights threshold"),
        ({"architecture": "gated"}, "lacks weights b_gate"),
        ({"architecture": "transcoder"}, "lacks 'd_out'"),
        ({"architecture": "batchtopk"}, "lacks weights threshold"),
    ],
)
def test_unknown_settings_are_refused_in_one_line(
    settings: dict[str, Any], match: str, tmp_path: Path
) -> None:
    write_autoencoder(tmp_path / "sae")
    changed(tmp_path / "sae", **settings)
    with pytest.raises((SnapshotError, UsageError), match=match) as caught:
        load_autoencoder(tmp_path / "sae")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "sae") in str(caught.value)


def test_damaged_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "sae"
    with pytest.raises(SnapshotError, match=r"cfg\.json: no such file"):
        load_autoencoder(folder)
    write_autoencoder(folder)
    files = {name: (folder / name).read_bytes() for name in ("cfg.json", "sae_weights.safetensors")}
    weights = load_file(folder / "sae_weights.safetensors")
    broken = dict(weights, W_enc=torch.full((8, 40), torch.nan))
    for name, contents in {
        "cfg.json": (b"", b"[]", b"{", b"\xff", b'{"d_in": 8', b" " * (1 << 20) + b"{}", b"[" * 100_000),
        "sae_weights.safetensors": (b"", b"garbage", files["sae_weights.safetensors"][:-9]),
    }.items():
        for content in contents:
            (folder / name).write_bytes(content)
            with pytest.raises(SnapshotError, match=f"{name}: damaged") as caught:
                load_autoencoder(folder)
            assert "\n" not in str(caught.value)
        (folder / name).write_bytes(files[name])
    for content, match in (
        (broken, "not finite"),
        (dict(weights, evil=torch.zeros(1)), "unknown weights evil"),
    ):
        save_file(content, folder / "sae_weights.safetensors")
        with pytest.raises(SnapshotError, match=match):
            load_autoencoder(folder)
    (folder / "sae_weights.safetensors").unlink()
    with pytest.raises(TxrayError, match="no such file"):
        load_autoencoder(folder)
