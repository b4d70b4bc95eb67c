"""Command-line options for sharding a corpus and for choosing the execution engine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from txray.errors import UsageError

if TYPE_CHECKING:
    import torch

    from txray.engines import Ray

AUTO = "auto"
_GPUS = {"cpu": 0.0, "cuda": 1.0}
"""GPUs per worker, by device; for `auto` the engine decides by the GPUs of the cluster."""


@dataclass
class EngineOptions:
    """Options of the engine that runs a collection."""

    shard: Annotated[
        str | None,
        typer.Option(
            help="3/8: every eighth document, starting with the third; auto: the shard of RANK and WORLD_SIZE, which "
            "torchrun sets, into a folder such as part-00002-of-00008 within --out. Join the shards with 'txray merge'."
        ),
    ] = None
    engine: Annotated[
        Literal["single", "ray"],
        typer.Option("--engine", help="single: this process; ray: workers of a Ray cluster (extra 'ray')."),
    ] = "single"
    workers: Annotated[
        int | None,
        typer.Option(
            help="Number of worker processes, each with a copy of the model, for --engine ray; 2 by default."
        ),
    ] = None
    shards: Annotated[
        int | None,
        typer.Option(help="Number of shards of the text, for --engine ray; four per worker by default."),
    ] = None
    address: Annotated[
        str | None,
        typer.Option(
            help="Address of a Ray cluster; by default RAY_ADDRESS, or a new cluster on this machine."
        ),
    ] = None

    def open(self, device: str) -> Ray | None:
        """Return the engine, with workers on a device (`auto`, `cpu` or `cuda`); None for a single process.

        Raises:
            UsageError: options of an engine that is not selected, or a shard of a text that the engine divides.
        """
        if self.engine == "single":
            values = {"--workers": self.workers, "--shards": self.shards, "--address": self.address}
            if extra := [f"{option} {value}" for option, value in values.items() if value is not None]:
                raise UsageError(f"{' '.join(extra)}: applies to the engine of a cluster; add --engine ray")
            return None
        if self.shard == AUTO:
            raise UsageError(
                f"--engine {self.engine} with --shard {AUTO}: both divide the text; use one of them"
            )
        from txray.engines import Ray

        return Ray(
            workers=2 if self.workers is None else self.workers,
            shards=self.shards,
            address=self.address,
            gpus=_GPUS.get(device),
        )


def shard_and_folder(shard: str | None, out: Path) -> tuple[tuple[int, int] | None, Path]:
    """Return the number and the total of a shard, and the folder of its stage.

    Args:
        shard: `3/8`, or `auto` for the environment variables `RANK` and `WORLD_SIZE` that `torchrun` sets; None for
            the whole text.
        out: the folder `--out`; for `auto` each shard has a folder within it.

    Raises:
        UsageError: another value, or the variables are not set.
    """
    if shard is None:
        return None, out
    if shard != AUTO:
        number, slash, total = shard.partition("/")
        if not (slash and number.isdecimal() and total.isdecimal()):
            raise UsageError(
                f"--shard {shard!r}: give the number of a shard and their total, such as 3/8, or {AUTO} with torchrun"
            )
        return (int(number), int(total)), out
    rank, world = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        raise UsageError(
            f"--shard {AUTO}: RANK={rank!r} and WORLD_SIZE={world!r}; start the command with torchrun, or set them to "
            "a number from 0 and the total"
        )
    return (int(rank) + 1, int(world)), out / f"part-{int(rank):05d}-of-{int(world):05d}"


def rank_device(device: torch.device, shard: str | None) -> torch.device:
    """Return the GPU of this process among those that `torchrun` started on this machine.

    The device is returned unchanged unless it is a GPU and `--shard` is `auto`.
    """
    import torch

    if shard != AUTO or device.type != "cuda":
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
