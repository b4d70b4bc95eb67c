"""Results of an experiment as tables, figures and a report."""

from __future__ import annotations

import re
from pathlib import Path

from txray.analysis.states import fdr_label
from txray.errors import UsageError
from txray.experiment.comparisons import PaperComparisons, pretraining_timeline
from txray.experiment.paper_table import Row, markdown, rows
from txray.experiment.pruning import prune_classifier, pruning_table
from txray.experiment.report_sections import sections
from txray.experiment.run import ExperimentResult, Log
from txray.experiment.significance_table import significance_table
from txray.experiment.sources import Sources
from txray.files import write_text
from txray.plots import save_figures
from txray.web.report import Section, report


def write_results(result: ExperimentResult, sources: Sources, *, device: str = "auto", log: Log) -> Path:
    """Write comparisons, the timeline, pruning, figures, `results.md` and `report.html` into the experiment's folder.

    Args:
        result: return value of `run_experiment`.
        sources: sources of its text, for pruned classifiers.
        device: `auto`, `cpu` or `cuda`.
        log: receives one-line progress messages.

    Returns:
        Path of the report.

    Raises:
        OutputError: the folder cannot be written.
    """
    log("comparing")
    comparisons = PaperComparisons.of(result)
    for name, pair in comparisons.by_name().items():
        for feature_type, comparison in pair.items():
            comparison.save(result.folder / "comparisons" / name / feature_type)
    log(f"following {len(result.epochs)} epochs")
    epochs = pretraining_timeline(result)
    epochs.save(result.folder / "timeline")
    supervision = comparisons.supervision["token"]
    pruning = prune_classifier(result, supervision, sources, device=device, log=log)
    page = results_page(
        result,
        rows(result, comparisons, epochs),
        f"Tested at {fdr_label(supervision.summary['fdr'])}; all means are over the neurons that were tested.\n\n"
        f"{significance_table(comparisons)}",
        pruning_table(pruning, supervision),
    )
    write_text(result.folder / "results.md", page)
    log("drawing")
    report_sections = sections(result, comparisons, epochs, pruning)
    _write_figures(result.folder / "figures", report_sections, log)
    return report(
        list(result.stages.values()),
        result.folder / "report.html",
        title=f"What {result.settings.hidden} neurons know",
        comparisons=[pair["token"] for pair in comparisons.by_name().values()],
        sections=report_sections,
    )


def results_page(result: ExperimentResult, table: list[Row], significance: str, pruning: str) -> str:
    """Return the text of `results.md`: the paper's results beside ours, significance, pruning, settings, and curves."""
    settings = "\n".join(f"| {name} | {value} |" for name, value in result.settings.as_json().items())
    curves = "\n\n".join(
        f"### {title}\n\n{_frame(run.curves)}"
        for title, run in (("Language model", result.pretraining), ("Classifier", result.fine_tuning))
    )
    return (
        f"# Results of the experiment, preset {result.settings.preset}\n\n"
        "Paper: Rethmeier, Saxena and Augenstein, TX-Ray, UAI 2020.\n\n"
        f"{markdown(table)}\n"
        f"## Significant changes\n\n{significance}\n"
        "## Pruning\n\nThe 95% intervals are over reviews; those against random sets are prediction intervals for the "
        "difference from a new random set. Verdicts are corrected for the sets and texts of the table "
        "(Benjamini-Hochberg)."
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


def _write_figures(folder: Path, report_sections: list[Section], log: Log) -> None:
    """Write every figure of the report as JSON, and as PNG if the extra `export` is installed."""
    figures = {}
    for number, section in enumerate(report_sections, start=1):
        slug = re.sub(r"[^a-z]+", "-", section.title.split(":")[0].lower()).strip("-")
        for index, picture in enumerate(section.figures, start=1):
            figures[f"{number}-{slug}-{index:02d}"] = picture.figure
    save_figures({folder / f"{name}.json": figure for name, figure in figures.items()})
    try:
        save_figures({folder / f"{name}.png": figure for name, figure in figures.items()})
    except UsageError as error:
        log(f"no PNG files: {error}")
