"""Stages to look at where nobody has any: a small experiment on the embedded corpus."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from txray.files import cache_folder
from txray.preferences.discovery import stage_folders
from txray.preferences.manifest import MANIFEST

_LAST = "sup"
"""The stage that an experiment collects last."""


def demo_stages(say: Callable[[str], None], *, words: int = 60_000, epochs: int = 3) -> list[Path]:
    """Folders of the demo's stages, made on first use: half a minute, kept in the user's cache folder.

    Args:
        say: told what is being done, one line at a time.
        words: of pretraining; whoever wants to look does not want to wait: fewer than `txray demo` takes.
        epochs: of pretraining; fewer, likewise.
    """
    place = cache_folder() / f"demo-{version('txray')}"
    if not (place / "stages" / _LAST / MANIFEST).is_file():
        from dataclasses import replace

        from txray.experiment import DemoSources, preset, run_experiment

        say("no stage given: making a demo, which takes up to a minute the first time")
        settings = replace(preset("demo"), pretraining_words=words, epochs=epochs, classifier_epochs=2)
        run_experiment(settings, DemoSources(0), place, say=say)
    else:
        say(f"no stage given: the demo made before, in {place}")
    return stage_folders([place])
