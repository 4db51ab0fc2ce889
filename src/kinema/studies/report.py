"""What a study comes to: report.html for people, results.csv for programs, tables.md for papers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kinema.core.atomic import replacing
from kinema.core.errors import UsageError
from kinema.evaluation.estimate import Estimate
from kinema.studies.figures import Figure, build_figures, draw_lines
from kinema.studies.folder import StudyFolder, failure, standing
from kinema.studies.grid import Grid
from kinema.studies.results import Pretrained, RunResult, read_pretrainings, read_results, write_results
from kinema.studies.tables import Cell, Comparison, Table, build_tables

__all__ = ["StudyReport", "report_study"]

NOTHING = "\N{EN DASH}"

HOW_TO_READ = tuple(
    " ".join(paragraph.split())
    for paragraph in """
    A figure is the share of test videos that were right (video top-1, in %), over all folds, with Wilson's 95 %
    interval over distinct videos; where several runs answer a video, as of several seeds, it counts with their mean.

    Won : lost counts the videos that only the first or only the second of two rows got right; of several runs, that one
    got right more often.

    McNemar's exact test (McNemar 1947) asks: would a fair coin part these videos so unevenly, or more so? Its p is
    how often that would happen if both rows were equally good and videos were independent.

    The test over sources asks the same with whole sources (all clips of one film, say) exchanged between the two
    rows: its p is the share of all such exchanges that part the rows at least as far. Where sources are known it
    decides, since their clips resemble each other.

    The corrected p is the deciding one after Holm's correction (Holm 1979) for all comparisons of its list; below
    0.05 the rows are called different. Comparisons with the best row are corrected for every pair of rows, because
    which row is best was learnt from the same videos.

    A p of 0.05 or more does not say that rows are equally good, only that these videos cannot tell.
    """.strip().split("\n\n")
)


@dataclass(frozen=True)
class StudyReport:
    """A study told.

    Attributes:
        grid: what was planned.
        results: of finished runs, by name.
        tables: in the order of the study.
        figures: likewise.
        pretrainings: those that are finished.
    """

    grid: Grid
    results: Mapping[str, RunResult]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    pretrainings: tuple[Pretrained, ...]

    @property
    def answer(self) -> str:
        """How far it has come, in a sentence."""
        done, planned = len(self.results), len(self.grid.runs)
        if done < planned:
            return f"{done} of {planned} runs finished"
        return f"{planned} run{'' if planned == 1 else 's'}, all finished"

    @property
    def failures(self) -> dict[str, str]:
        """Errors of runs that failed and are not done since."""
        return {
            run.name: failed.error
            for run in self.grid.all
            if standing(run) != "done" and (failed := failure(run)) is not None
        }


def report_study(grid: Grid) -> StudyReport:
    """Make report.html, results.csv and tables.md of what is there.

    Raises:
        UsageError: not one run is finished.
        DataError: files of a finished run are damaged, or the folder cannot be written to.
    """
    results = read_results(grid)
    tables, figures = build_tables(grid, results), build_figures(grid, results)
    report = StudyReport(grid, results, tables, figures, read_pretrainings(grid))
    folder = StudyFolder(grid.out)
    write_results(folder.results, grid, dict(results))
    if not results:
        raise UsageError(
            f"no run of {grid.path} is finished in {grid.out}",
            allowed="at least one finished run to report on",
            next_step=f"look into {folder.results}, and run the study",
        )
    with replacing(folder.tables) as beside:
        beside.write_text(as_markdown(report), encoding="utf-8", errors="backslashreplace")
    page = _environment().get_template("study.html.j2").render(_content(report))
    with replacing(folder.report) as beside:
        # A name that is no valid text (a lone surrogate) becomes a character reference.
        beside.write_bytes(page.encode("utf-8", "xmlcharrefreplace"))
    return report


def as_markdown(report: StudyReport) -> str:
    """All tables with their warnings and tests."""
    return "\n".join([f"# {report.grid.study.title}", "", f"{report.answer}.", "", *_markdown(report)]) + "\n"


def _markdown(report: StudyReport) -> Iterator[str]:
    for table in report.tables:
        yield from (f"## {table.title}", "")
        for warning in table.warnings:
            yield from (f"> **{_sentence(warning)}**", "")
        yield _line([table.header, *(column or "video top-1, %" for column in table.columns)])
        yield _line(["---", *["---:"] * len(table.columns)])
        for row, cells in zip(table.rows, table.cells, strict=True):
            yield _line([row, *(shown(cell) for cell in cells)])
        yield from ("", f"{beneath(table)}", "")
        for name, comparisons in (("With the baseline", table.with_baseline), ("With the best row", table.with_best)):
            if comparisons:
                yield from (f"### {name}", "")
                yield _line(COMPARED)
                yield _line(["---"] * 2 + ["---:"] * (len(COMPARED) - 2))
                yield from (_line(compared(one)) for one in comparisons)
                yield ""
    if report.pretrainings:
        yield from ("## Pretraining", "")
        yield _line(PRETRAINED)
        yield _line(["---"] * 2 + ["---:"] * (len(PRETRAINED) - 2))
        yield from (_line(pretrained(one)) for one in report.pretrainings)
        yield from ("", BENEATH_PRETRAINED, "")
    yield from ("## How to read this", "", *(f"- {text}" for text in HOW_TO_READ))


COMPARED = (
    "rows", "column", "points", "won : lost", "videos", "sources", "p, McNemar", "p, sources", "p, corrected",
)  # fmt: skip


def compared(one: Comparison) -> list[str]:
    """A comparison as the cells of a line under `COMPARED`."""
    pairing = one.pairing
    return [
        f"{one.first} \N{MINUS SIGN} {one.second}",
        one.column or NOTHING,
        f"{100 * pairing.difference:+.1f}".replace("-", "\N{MINUS SIGN}"),
        f"{pairing.first} : {pairing.second}",
        str(pairing.n),
        NOTHING if pairing.groups is None else str(pairing.groups),
        p_value(pairing.by_videos),
        NOTHING if pairing.by_groups is None else p_value(pairing.by_groups),
        p_value(one.p) + (" *" if one.separates else ""),
    ]


PRETRAINED = ("pretraining", "held out", "videos", "sources", "classes", "video top-1, %")
BENEATH_PRETRAINED = (
    "What each pretraining reached on videos of its own data that it had not seen, with 95 % interval (Wilson); "
    "one that guesses is right once in as many times as there are classes."
)


def pretrained(one: Pretrained) -> list[str]:
    """A pretraining as the cells of a line under `PRETRAINED`."""
    if one.accuracy is None:
        return [one.run.folder.name, "nothing", *[NOTHING] * 4]
    return [
        one.run.folder.name,
        str(one.split),
        str(one.accuracy.n),
        NOTHING if one.over_groups is None else str(one.over_groups.n),
        str(one.classes),
        f"{100 * one.accuracy.value:.1f} {interval(one.accuracy)}".strip(),
    ]


def p_value(p: float) -> str:
    """A p as papers write it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def shown(cell: Cell) -> str:
    """A cell on a line: figure, interval, and what is missing."""
    if cell.planned == 0:
        return NOTHING
    if cell.accuracy is None:
        return "missing"
    value = f"{100 * cell.accuracy.value:.1f}"
    parts = [f"**{value}**" if cell.best else value, bounds(cell)]
    if cell.spread is not None:
        parts.append(f"± {100 * cell.spread:.1f}")
    if cell.missing:
        parts.append(f"({len(cell.results)} of {cell.planned} runs)")
    return " ".join(parts)


def bounds(cell: Cell) -> str:
    """Wilson's interval of a cell, in percent."""
    return interval(cell.accuracy)


def over_groups(cell: Cell) -> str:
    """The interval of the bootstrap over groups, in percent; empty where there is none."""
    return interval(cell.over_groups)


def interval(estimate: Estimate | None) -> str:
    """The bounds of a share, in percent; empty where it has none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    return f"[{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def beneath(table: Table) -> str:
    """What stands under a table: what its figures are of."""
    held = [cell for row in table.cells for cell in row if cell.accuracy]
    counts = sorted({cell.accuracy.n for cell in held if cell.accuracy})
    sources = sorted({cell.over_groups.n for cell in held if cell.over_groups})
    text = f"Video top-1 in % with 95 % interval; n = {_between(counts)} videos"
    if sources:
        text += f" from {_between(sources)} sources"
    if table.pooled:
        text += f"; over {', '.join(table.pooled)}"
    if any(cell.spread is not None for cell in held):
        text += "; ±: standard deviation of runs"
    return text + "."


def _between(counts: Sequence[int]) -> str:
    if not counts:
        return "0"
    return str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _sentence(text: str) -> str:
    return text + ("" if text.endswith(".") else ".")


def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("kinema.studies", "templates"), PackageLoader("kinema.evaluation", "templates")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "bounds": bounds, "compared": compared, "over_groups": over_groups, "beneath": beneath, "sentence": _sentence,
        "pretrained": pretrained,
    }  # fmt: skip
    return environment


def _content(report: StudyReport) -> dict[str, object]:
    """The variables of the template. Only figures drawn here are marked as HTML; all else is escaped."""
    return {
        "report": report,
        "columns": COMPARED,
        "columns_of_pretraining": PRETRAINED,
        "beneath_pretraining": BENEATH_PRETRAINED,
        "how_to_read": HOW_TO_READ,
        "figures": [
            (figure, [(panel, Markup(draw_lines(figure, panel))) for panel in figure.panels])  # noqa: S704 - drawn by matplotlib, which escapes
            for figure in report.figures
        ],
    }
