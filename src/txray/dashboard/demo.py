"""Stages to look at where nobody has any: the demo experiment, without its report."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from txray.files import cache_folder


def demo_stages(say: Callable[[str], None]) -> list[Path]:
    """Folders of the demo's stages, made on first use: about a minute, kept in the user's cache folder.

    Args:
        say: told what is being done, one line at a time.
    """
    from txray.experiment import DemoSources, preset, run_experiment

    say("no stage given: making a demo, which takes about a minute the first time")
    place = cache_folder() / f"demo-{version('txray')}"
    outcome = run_experiment(preset("demo"), DemoSources(0), place, say=say)
    names = [*(stage.name for stage in outcome.epochs.values()), "zero-shot", "sup"]
    return [place / "stages" / name for name in names]
