"""Write what an experiment found: tables, figures, the report."""

from __future__ import annotations

import re
from pathlib import Path

from txray.analysis.findings import fdr_label
from txray.errors import UsageError
from txray.experiment.comparisons import PaperComparisons, timeline_of
from txray.experiment.paper_table import Row, markdown, rows
from txray.experiment.pruning import prune_classifier, pruning_table
from txray.experiment.report_sections import sections
from txray.experiment.run import ExperimentResult, Say
from txray.experiment.significance_table import chance_table
from txray.experiment.sources import Sources
from txray.files import write_text
from txray.plots import save_figures
from txray.web.report import Section, report


def write_results(outcome: ExperimentResult, sources: Sources, *, device: str = "auto", say: Say) -> Path:
    """Write comparisons, the timeline, pruning, figures, `results.md` and `report.html` into the experiment's folder.

    Args:
        outcome: of `run_experiment`.
        sources: its text, that pruned classifiers are scored on.
        device: `auto`, `cpu` or `cuda`.
        say: told what is being done, one line at a time.

    Returns:
        Path of the report.

    Raises:
        OutputError: the place cannot be written.
    """
    say("comparing")
    questions = PaperComparisons.of(outcome)
    for name, pair in questions.by_name().items():
        for feature_type, comparison in pair.items():
            comparison.save(outcome.folder / "comparisons" / name / feature_type)
    say(f"following {len(outcome.epochs)} epochs")
    epochs = timeline_of(outcome)
    epochs.save(outcome.folder / "timeline")
    supervision = questions.supervision["token"]
    pruned = prune_classifier(outcome, supervision, sources, device=device, say=say)
    page = results_page(
        outcome,
        rows(outcome, questions, epochs),
        f"Tested at {fdr_label(supervision.summary['fdr'])}; all means are over the neurons that were tested.\n\n"
        f"{chance_table(questions)}",
        pruning_table(pruned, supervision),
    )
    write_text(outcome.folder / "results.md", page)
    say("drawing")
    story = sections(outcome, questions, epochs, pruned)
    _write_figures(outcome.folder / "figures", story, say)
    comparisons = [pair["token"] for pair in questions.by_name().values()]
    return report(
        list(outcome.stages.values()),
        outcome.folder / "report.html",
        title=f"What {outcome.settings.hidden} neurons know",
        comparisons=comparisons,
        sections=story,
    )


def results_page(outcome: ExperimentResult, table: list[Row], chance: str, pruning: str) -> str:
    """Return `results.md`: our figures beside the paper's, what is significant, pruning, settings, and curves."""
    settings = "\n".join(f"| {name} | {value} |" for name, value in outcome.settings.as_json().items())
    curves = "\n\n".join(
        f"### {title}\n\n{_frame(run.curves)}"
        for title, run in (("Language model", outcome.pretraining), ("Classifier", outcome.fine_tuning))
    )
    return (
        f"# Results of the experiment, preset {outcome.settings.preset}\n\n"
        "Paper: Rethmeier, Saxena and Augenstein, TX-Ray, UAI 2020.\n\n"
        f"{markdown(table)}\n"
        f"## Significant changes\n\n{chance}\n"
        "## Pruning\n\nIntervals are of 95%, over reviews; those against random sets are of the difference to one "
        "more random set. Verdicts are corrected for the sets and texts of the table (Benjamini-Hochberg)."
        f"\n\n{pruning}\n"
        f"## Settings\n\n| setting | value |\n| --- | --- |\n{settings}\n\n## Curves\n\n{curves}\n"
    )


def _frame(frame: object) -> str:
    import polars as pl

    with pl.Config(
        tbl_formatting="MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_rows=-1,
        float_precision=4,
    ):
        return str(frame)


def _write_figures(folder: Path, story: list[Section], say: Say) -> None:
    """Every figure of the story as JSON, and as PNG where the extra `export` is installed."""
    named = {}
    for number, section in enumerate(story, start=1):
        slug = re.sub(r"[^a-z]+", "-", section.title.split(":")[0].lower()).strip("-")
        for index, picture in enumerate(section.figures, start=1):
            named[f"{number}-{slug}-{index:02d}"] = picture.figure
    save_figures({folder / f"{name}.json": figure for name, figure in named.items()})
    try:
        save_figures({folder / f"{name}.png": figure for name, figure in named.items()})
    except UsageError as error:
        say(f"no PNG files: {error}")
