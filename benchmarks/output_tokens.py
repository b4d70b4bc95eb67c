"""Output tokens of every causal language model of transformers against finite differences, and what they cost.

    python -m benchmarks.output_tokens        tiny models of all architectures
    python -m benchmarks.output_tokens scale  150,000 ids and 14,336 neurons: seconds and peak memory

The neurons of the last feed-forward part are followed by nothing but the final norm and the head, so the derivative of
the logits by an activation is known without any name of a module: the derivative of a norm is the norm at a fixed
scale, minus a multiple of its own output. The derivative must therefore be a positive multiple of the effects in the
table, plus a multiple of the logits and a constant. Biases are zero, because they would be a further term.
"""

from __future__ import annotations

import resource
import sys
import time
import warnings
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.conformity.architectures import architectures
from benchmarks.conformity.text import tokenizer
from txray.capture import layer_roles
from txray.capture.output.output_tokens import computed_output_tokens
from txray.errors import TxrayError
from txray.models import from_transformers

_UNITS = (0, 5, 11)
_EXACT = 1e-2


def main(arguments: list[str]) -> None:
    """Print a table."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    if arguments == ["scale"]:
        measure_scale()
        return
    outcomes: dict[str, int] = {}
    for architecture in architectures():
        try:
            config = architecture.config()
            if type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING or config.is_encoder_decoder:
                continue
            model, roles = causal_model(config)
        except Exception as error:
            print(f"{architecture.name}: not built: {type(error).__name__}")
            continue
        for role, outcome in outcomes_of(model, roles).items():
            print(f"{architecture.name}: {role}: {outcome}", flush=True)
            key = f"{role}: {outcome.partition(' (')[0]}"
            outcomes[key] = outcomes.get(key, 0) + 1
    for key, count in sorted(outcomes.items()):
        print(f"{count:4} {key}")


def causal_model(config: Any) -> tuple[Any, Any]:
    """Return a random causal language model whose norms have random gains, and the roles of its layers.

    It is in float64 if all of its operations are.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.data.zero_()
            elif weight.dim() == 1:
                weight.data += 0.3 * torch.randn_like(weight)
    try:
        return model, layer_roles(from_transformers(model.double(), tokenizer()))
    except TxrayError:
        return model, layer_roles(from_transformers(model.float(), tokenizer()))


def outcomes_of(model: Any, roles: Any) -> dict[str, str]:
    """Return what became of the last layer of each role."""
    outcomes: dict[str, str] = {}
    last_block = max((role.layers[-1] for role in roles if role.role == "residual stream"), default="")
    for role in roles:
        layer = role.layers[-1].removesuffix(":head")
        try:
            tokens = computed_output_tokens(from_transformers(model, tokenizer()), layer, 1000)
        except TxrayError as error:
            outcomes.setdefault(role.role, f"refused ({str(error)[:60]})")
            continue
        (account,) = tokens.settings["layers"].values()
        # An attention is followed by the feed-forward part; a norm after the projection has a derivative of its own.
        comparable = role.role == "MLP neurons" and layer.startswith(f"{last_block}.")
        if not comparable or account["maps"].count("FrozenNorm") != 1:
            if not outcomes.get(role.role, "refused").startswith("exact"):
                outcomes[role.role] = "defined, not compared"
            continue
        worst = max(unexplained(model, layer, tokens.table, unit) for unit in _UNITS)
        outcomes[role.role] = "exact" if worst < _EXACT else f"differs ({worst:.1g})"
    return outcomes


def unexplained(model: Any, layer: str, table: Any, unit: int) -> float:
    """Return the share of the derivative that effects, logits and a constant do not explain; 1 if the sign is wrong."""
    rows = table.filter(neuron=unit)
    listed = rows["id"].to_numpy()
    step = 1e-4 if next(model.parameters()).dtype is torch.float64 else 1e-1
    lower, logits, upper = (logits_at(model, layer, unit, change)[listed] for change in (-step, 0.0, step))
    derivative = (upper - lower) / (2 * step)
    columns = np.stack([rows["effect"].to_numpy(), logits, np.ones(len(listed))], axis=1)
    solution, *_ = np.linalg.lstsq(columns, derivative, rcond=None)
    rest = derivative - columns @ solution
    return (
        1.0
        if solution[0] <= 0
        else float(np.linalg.norm(rest) / np.linalg.norm(derivative - derivative.mean()))
    )


def logits_at(model: Any, layer: str, unit: int, change: float) -> Any:
    """Return the logits at a position after one activation was changed by a hook."""

    def add(module: Any, inputs: Any) -> Any:
        changed = inputs[0].clone()
        changed[..., unit] += change
        return (changed, *inputs[1:])

    hook = model.get_submodule(layer.removesuffix(":input")).register_forward_pre_hook(add)
    ids = torch.tensor([[0, 5, 6, 7, 8, 9, 2]])
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0, -2].double().numpy()
    hook.remove()
    return logits


def measure_scale() -> None:
    """Print the cost of one layer of a Llama with 150,000 ids and 14,336 neurons, 512 wide."""
    config = transformers.LlamaConfig(
        vocab_size=150_000,
        hidden_size=512,
        intermediate_size=14_336,
        num_hidden_layers=1,
        num_attention_heads=8,
    )
    model = from_transformers(transformers.LlamaForCausalLM(config).eval(), tokenizer())
    names = [str(number) for number in range(150_000)]
    object.__setattr__(model, "output_name", names.__getitem__)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    tokens = computed_output_tokens(model, "model.layers.0.mlp.down_proj:input", 20)
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{seconds:.0f} s, {(peak - before) / 1024:.0f} MiB more than with the model alone; all effects would be "
        f"{150_000 * 14_336 * 4 / (1 << 30):.1f} GiB; {tokens.table.estimated_size() >> 20} MiB stored"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
