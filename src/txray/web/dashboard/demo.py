"""Stages of a small experiment on the embedded corpus, for users without stages of their own."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from txray.files import cache_folder
from txray.preferences.discovery import stage_folders
from txray.preferences.manifest import MANIFEST

_LAST = "sup"
"""The stage that an experiment collects last."""


def demo_stages(log: Callable[[str], None], *, words: int = 60_000, epochs: int = 3) -> list[Path]:
    """Return the folders of the demo's stages, made on first use (half a minute) in the user's cache folder.

    `words` and `epochs` of pretraining are fewer than those of `txray demo`, because the user waits.
    """
    folder = cache_folder() / f"demo-{version('txray')}"
    if not (folder / "stages" / _LAST / MANIFEST).is_file():
        from dataclasses import replace

        from txray.experiment import DemoSources, preset, run_experiment

        log("no stage given: making a demo, which takes up to a minute the first time")
        settings = replace(preset("demo"), pretraining_words=words, epochs=epochs, classifier_epochs=2)
        run_experiment(settings, DemoSources(0), folder, log=log)
    else:
        log(f"no stage given: showing the demo in {folder}")
    return stage_folders([folder])
