"""Stages to look at where nobody has any: a small experiment on the embedded corpus."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from txray.files import cache_folder


def demo_stages(say: Callable[[str], None]) -> list[Path]:
    """Folders of the demo's stages, made on first use: under a minute, kept in the user's cache folder.

    Args:
        say: told what is being done, one line at a time.
    """
    from dataclasses import replace

    from txray.experiment import DemoSources, preset, run_experiment

    say("no stage given: making a demo, which takes up to a minute the first time")
    place = cache_folder() / f"demo-{version('txray')}"
    # Whoever wants to look does not want to wait: less text and fewer epochs than `txray demo`.
    settings = replace(preset("demo"), pretraining_words=60_000, epochs=3, classifier_epochs=2)
    outcome = run_experiment(settings, DemoSources(0), place, say=say)
    names = [*(stage.name for stage in outcome.epochs.values()), "zero-shot", "sup"]
    return [place / "stages" / name for name in names]
