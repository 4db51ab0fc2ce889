"""What a study comes to: tables, warnings, figures, files; of runs whose answers are known."""

import csv
import html
import re
import shutil

import numpy as np
import pytest
from made_up import finish

from kinema.core.errors import DataError, UsageError
from kinema.evaluation.estimate import wilson
from kinema.studies.comparison import mcnemar, smallest_difference
from kinema.studies.conduct import conduct
from kinema.studies.figures import build_figures, draw_lines
from kinema.studies.grid import lay_out
from kinema.studies.report import report_study
from kinema.studies.results import read_results
from kinema.studies.tables import build_tables

AXES = {
    "source": {"none": {}, "small": {"lr": 0.1}, "large": {"lr": 0.2}},
    "mode": {"fc": {}, "all": {"momentum": 0.5}},
}


@pytest.fixture
def laid_out(write_study, tmp_path):
    def lay(**parts):
        given = {"axes": AXES, "tables": [{"title": "By set", "rows": "source", "columns": "mode"}], **parts}
        return lay_out(write_study(**given), tmp_path / "out")

    return lay


def table_of(grid, number=0):
    return build_tables(grid, read_results(grid))[number]


def by_name(grid):
    return {run.name: run for run in grid.runs}


def finish_all(grid, **right):
    for run in grid.runs:
        finish(run, right.get(run.levels.get("source"), range(20)))


def test_a_cell_is_the_share_of_right_videos_with_its_interval(laid_out):
    grid = laid_out()
    finish_all(grid, none=range(10), small=range(20), large=range(38))
    table = table_of(grid)
    assert (table.rows, table.columns, table.header) == (("none", "small", "large"), ("fc", "all"), "source")
    cell = table.cells[2][0]
    assert (cell.accuracy.value, cell.accuracy.low, cell.accuracy.high) == pytest.approx(
        (0.95, wilson(38, 40).low, wilson(38, 40).high)
    )
    assert cell.over_groups.n == 10
    assert cell.over_groups.value == pytest.approx(0.95)
    assert [[cell.best for cell in row] for row in table.cells] == [[False] * 2, [False] * 2, [True] * 2]
    assert table.pooled == ()


def test_runs_that_answer_the_same_videos_make_the_share_steadier_not_the_videos_more(laid_out):
    grid = laid_out(axes={"source": AXES["source"], "seed": [0, 1, 2]}, tables=[{"rows": "source"}])
    for run in grid.runs:
        finish(run, range(10 + 2 * int(run.levels["seed"])))
    table = table_of(grid)
    cell = table.cells[0][0]
    assert (len(cell.results), cell.planned, cell.accuracy.n) == (3, 3, 40)
    assert cell.accuracy.value == pytest.approx(12 / 40)
    assert cell.spread == pytest.approx(np.std([10 / 40, 12 / 40, 14 / 40], ddof=1))
    assert table.pooled == ("seed",)
    assert table.columns == ("",)


def test_rows_are_compared_with_the_baseline_and_with_the_best(laid_out):
    grid = laid_out(baseline={"source": "none"})
    finish_all(grid, none=range(10), small=range(4, 24), large=range(38))
    table = table_of(grid)
    said = [(one.column, one.first, one.second) for one in table.with_baseline]
    assert said == [(mode, row, "none") for mode in ("fc", "all") for row in ("small", "large")]
    first = table.with_baseline[0]
    assert (first.pairing.first, first.pairing.second, first.pairing.n, first.family) == (14, 4, 40, 4)
    assert first.pairing.by_videos == mcnemar(14, 4)
    assert first.pairing.p == first.pairing.by_groups
    assert [(one.first, one.second, one.family) for one in table.with_best] == [
        ("large", "none", 6), ("large", "small", 6), ("large", "none", 6), ("large", "small", 6),
    ]  # fmt: skip
    assert all(one.pairing.difference > 0 for one in table.with_best)
    assert all(one.p >= one.pairing.p for one in (*table.with_baseline, *table.with_best))


def test_a_baseline_of_rows_of_two_axes_changes_only_its_own(laid_out):
    grid = laid_out(baseline={"source": "none"}, tables=[{"rows": ["mode", "source"]}])
    finish_all(grid)
    table = table_of(grid)
    assert table.rows[:2] == ("fc · none", "fc · small")
    assert [(one.first, one.second) for one in table.with_baseline] == [
        (f"{mode} · {source}", f"{mode} · none") for mode in ("fc", "all") for source in ("small", "large")
    ]


def test_a_warning_stands_where_n_cannot_separate_and_goes_where_it_can(laid_out):
    grid = laid_out()
    finish_all(grid, none=range(20), small=range(21), large=range(22))
    warnings = table_of(grid).warnings
    assert len(warnings) == 2
    found = re.fullmatch(
        r"fc: n = 40 cannot separate these rows: "
        r"only differences above about (\d+) points would be seen \(80 % power\), more where clips of one source agree",
        warnings[0],
    )
    assert 15 < int(found[1]) < 40


def test_of_pooled_runs_the_bound_is_in_points_of_their_mean(laid_out):
    axes = {"source": {"none": {}, "large": {"lr": 0.2}}, "seed": [0, 1]}
    grid = laid_out(axes=axes, tables=[{"rows": "source"}])
    for run in grid.runs:  # each of two seeds parts the rows on videos of its own: half a video each
        first, second = (range(8), range(8, 14)) if run.levels["seed"] == "0" else (range(20, 28), range(28, 34))
        finish(run, first if run.levels["source"] == "large" else second, n=200, groups=0)
    table = table_of(grid)
    (pairing,) = [one.pairing for one in table.with_best]
    assert (pairing.first, pairing.second, pairing.margin) == (16, 12, 0.5)
    assert pairing.difference == pytest.approx(2 / 200)
    points = 100 * smallest_difference(200, 28 / 200) * 0.5
    assert f"only differences above about {points:.0f} points" in table.warnings[0]


def test_where_every_row_is_told_from_the_best_no_warning_stands(laid_out):
    grid = laid_out()
    finish_all(grid, none=[], small=range(4), large=range(40))
    table = table_of(grid)
    assert table.warnings == ()
    assert all(one.separates for one in table.with_best)


def test_a_warning_names_the_rows_that_stay_together(laid_out):
    grid = laid_out()
    finish_all(grid, none=[], small=range(38), large=range(40))
    assert table_of(grid).warnings[0].startswith("fc: n = 40 cannot separate large from small: only differences above")


def test_so_few_sources_cannot_tell_any_rows_apart(laid_out):
    grid = laid_out()
    for run in grid.runs:
        finish(run, {"none": [], "small": range(50), "large": range(200)}[run.levels["source"]], n=200, groups=4)
    assert table_of(grid).warnings == tuple(
        f"{mode}: n = 200 cannot separate these rows: no difference at all would be seen from so few sources (4)"
        for mode in ("fc", "all")
    )


def test_sources_are_few_where_two_exchanges_of_all_are_no_rarer_than_the_corrected_level(laid_out):
    grid = laid_out(axes={"source": {"none": {}, "large": {"lr": 0.2}}}, tables=[{"rows": "source"}])
    for groups, separates in ((5, False), (6, True)):  # 2 of 2^5 exchanges are 0.0625, 2 of 2^6 are 0.03125
        for run in grid.runs:
            finish(run, {"none": [], "large": range(60)}[run.levels["source"]], n=60, groups=groups)
        table = table_of(grid)
        assert table.with_best[0].separates == separates
        assert [warning.endswith("from so few sources (5)") for warning in table.warnings] == [True] * (not separates)
        shutil.rmtree(grid.out)


def test_rows_that_share_few_sources_with_the_best_are_told_from_those_that_share_many(laid_out):
    grid = laid_out(axes={"source": AXES["source"]}, tables=[{"rows": "source"}])
    runs = by_name(grid)
    finish(runs["none"], range(20))
    finish(runs["small"], range(2), n=4)
    finish(runs["large"], range(24))
    first, few, many = table_of(grid).warnings
    assert first == "Not all rows were tested on the same videos: tests are of those that two rows share"
    assert few.startswith("n = 4 cannot separate large from small: no difference at all")
    assert many.startswith("n = 40 cannot separate large from none: only differences above")


def test_rows_that_pool_other_runs_are_said_to(laid_out):
    axes = {"s": {"x": {}, "y": {"lr": 0.1}}, "mode": AXES["mode"], "seed": [0, 1]}
    grid = laid_out(axes=axes, tables=[{"rows": "s"}], leave_out=[{"s": "y", "mode": "fc"}])
    for run in grid.runs:
        finish(run, range(10 if run.levels["mode"] == "fc" else 30))
    table = table_of(grid)
    assert [cell.accuracy.value for (cell,) in table.cells] == [0.5, 0.75]
    assert table.with_best[0].pairing.difference == 0
    assert table.warnings[0] == (
        "The rows pool different levels of mode: 2 of 6 runs are not in every row, "
        "so figures of rows are not of the same runs; tests are of those that two rows share"
    )


def test_rows_of_which_one_lacks_a_finished_run_pool_other_runs_too(laid_out):
    axes = {"s": {"x": {}, "y": {"lr": 0.1}}, "mode": AXES["mode"], "seed": [0, 1]}
    grid = laid_out(axes=axes, tables=[{"rows": "s"}])
    for run in grid.runs[:-1]:
        finish(run, range(20))
    missing, pooled, _ = table_of(grid).warnings
    assert missing.startswith("1 of 8 runs are missing")
    assert pooled.startswith("The rows pool different levels of mode, seed: 1 of 7 runs are not in every row")


def test_rows_without_runs_in_common_are_said_to_have_none(laid_out):
    grid = laid_out(
        axes={"net": {"one": {}, "two": {"lr": 0.1}}, "on": {"a": {}, "b": {"momentum": 0.5}}},
        tables=[{"rows": "net"}],
        leave_out=[{"net": "one", "on": "b"}, {"net": "two", "on": "a"}],
    )
    finish_all(grid)
    (warning,) = table_of(grid).warnings
    assert warning == (
        "The rows have no runs in common that differ in the row alone: they differ in on, too, "
        "so no paired test compares them"
    )


def test_what_is_missing_is_shown_and_left_out_of_the_tests(laid_out):
    grid = laid_out(leave_out=[{"source": "none", "mode": "fc"}])
    runs = by_name(grid)
    finish(runs["small,fc"], range(10))
    finish(runs["large,fc"], range(38))
    table = table_of(grid)
    assert [[(cell.planned, len(cell.results)) for cell in row] for row in table.cells] == [
        [(0, 0), (1, 0)], [(1, 1), (1, 0)], [(1, 1), (1, 0)],
    ]  # fmt: skip
    assert table.warnings[0] == "3 of 5 runs are missing: figures and tests are of those that are finished"
    assert {one.column for one in table.with_best} == {"fc"}


def test_validation_videos_are_called_so(laid_out):
    grid = laid_out()
    for run in grid.runs:
        finish(run, range(20), val=True)
    assert (
        "Nothing was held out for a test: these are validation videos, by which the epoch was chosen"
        in table_of(grid).warnings
    )


def test_rows_of_other_data_are_not_paired(laid_out):
    grid = laid_out(axes={"on": {"one": {"data": "one.csv"}, "two": {"data": "two.csv"}}}, tables=[{"rows": "on"}])
    for run in grid.runs:
        finish(run, range(20))
    table = table_of(grid)
    assert table.with_best == ()
    assert table.warnings == ("The rows were not tested on the same videos, so no paired test compares them",)


def test_a_row_of_other_data_among_rows_of_the_same_is_said_to_be(laid_out):
    on = {"one": {"data": "one.csv"}, "same": {"data": "one.csv", "lr": 0.1}, "two": {"data": "two.csv"}}
    grid = laid_out(axes={"on": on}, tables=[{"rows": "on"}])
    for run in grid.runs:
        finish(run, range(20))
    assert table_of(grid).warnings[0].startswith("Not all rows were tested on the same videos")


def test_one_table_for_each_level(laid_out):
    grid = laid_out(
        tables=[{"title": "By set", "rows": "source", "each": "mode", "where": {"source": ["none", "large"]}}]
    )
    finish_all(grid)
    tables = build_tables(grid, read_results(grid))
    assert [(table.title, table.rows) for table in tables] == [
        ("By set · fc", ("none", "large")), ("By set · all", ("none", "large")),
    ]  # fmt: skip


def test_figures_are_means_and_their_last_epochs_are_measured(laid_out):
    grid = laid_out(figures=[{"title": "Course", "lines": "source", "where": {"mode": "all"}, "last": 2}])
    finish_all(grid)
    (figure,) = build_figures(grid, read_results(grid))
    assert figure.panels == ("loss, training", "accuracy, training")
    assert figure.pooled == ("folds",)
    assert "no clips were kept to validate" in figure.note
    line = figure.lines[0]
    assert line.values("loss, training").mean(axis=0) == pytest.approx([1 / epoch + 0.15 for epoch in (1, 2, 3, 4)])
    assert line.last("loss, training") == pytest.approx(0.4)
    assert line.unsteadiness("loss, training", 2) == pytest.approx(np.std([1 / 3, 1 / 4], ddof=1))
    assert line.unsteadiness("loss, validation", 2) is None


def test_folds_are_pooled_in_the_figures_whose_runs_have_them(laid_out):
    grid = laid_out(figures=[{"lines": "source", "each": "mode"}])
    finish_all(grid)
    for run in grid.runs:
        if run.levels["mode"] == "fc":
            shutil.copy(run.folder / "fold-1" / "metrics.csv", run.folder)
    assert [figure.pooled for figure in build_figures(grid, read_results(grid))] == [(), ("folds",)]


def test_every_line_is_in_the_legend_whatever_it_is_called(laid_out):
    grid = laid_out(axes={"source": {"_small": {}, "large": {"lr": 0.2}}}, tables=[])
    finish_all(grid)
    (figure,) = build_figures(grid, read_results(grid))
    drawn = draw_lines(figure, "loss, training")
    assert ">_small<" in drawn
    assert ">large<" in drawn


def test_validation_is_drawn_where_there_was_one(laid_out):
    grid = laid_out()
    for run in grid.runs:
        finish(run, range(20), val=True)
    (figure,) = build_figures(grid, read_results(grid))
    assert len(figure.panels) == 4
    assert figure.note == ""


def test_the_three_files(laid_out, tmp_path):
    grid = laid_out(baseline={"source": "none"}, title="Sets & <modes>")
    runs = by_name(grid)
    for name, right in (
        ("none,fc", range(10)),
        ("large,fc", range(38)),
        ("none,all", range(12)),
        ("large,all", range(39)),
    ):
        finish(runs[name], right)
    report_study(grid)
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert len(rows) == 6
    row = rows["large,fc"]
    assert (row["source"], row["mode"], row["standing"], row["n"], row["correct"]) == (
        "large",
        "fc",
        "done",
        "40",
        "38",
    )
    assert float(row["accuracy"]) == 0.95
    assert float(row["loss"]) == pytest.approx(-(38 * np.log(0.8) + 2 * np.log(0.4)) / 40, abs=1e-6)
    assert (row["epochs"], row["seconds"], row["folder"]) == ("4", "60.0", "runs/large,fc")
    assert (rows["small,fc"]["standing"], rows["small,fc"]["n"]) == ("waiting", "")
    text = (tmp_path / "out" / "tables.md").read_text()
    assert "| large | **95.0** [83.5, 98.6] | **97.5** [87.1, 99.6] |" in text
    assert "| small | missing | missing |" in text
    assert "n = 40 videos from 10 sources" in text
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Sets &amp; &lt;modes&gt;" in page
    assert page.count("<svg") == 2
    assert "<script" not in page
    shown = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "4 of 6 runs finished" in shown
    assert "95.0 [83.5, 98.6]" in shown
    assert "McNemar 1947" in shown
    assert "Holm 1979" in shown


def test_the_report_tells_what_each_pretraining_learnt(laid_out, tmp_path):
    parts = {"one": {"epochs": 2}, "two": {"epochs": 3}, "three": {"epochs": 4}, "four": {"epochs": 5}}
    levels = {"none": {}, **{name: {"pretrained": name} for name in parts}}
    grid = laid_out(pretraining={"sources": parts}, axes={"source": levels}, tables=[{"rows": "source"}])
    finish_all(grid)
    one, two, three, _ = grid.pretrainings
    finish(one, range(30))
    finish(two, range(10), groups=0, val=True)
    finish(three, [])
    (three.folder / "metrics.json").unlink()  # as where its data holds nothing out
    assert [told.run.folder.name for told in report_study(grid).pretrainings] == ["one", "two", "three"]
    text = (tmp_path / "out" / "tables.md").read_text()
    assert "| one | test | 40 | 10 | 2 | 75.0 [10.0, 90.0] |" in text
    assert "| two | val | 40 | \N{EN DASH} | 2 | 25.0 [10.0, 90.0] |" in text
    assert "| three | nothing |" in text
    assert "| four |" not in text.partition("## Pretraining")[2]
    page = (tmp_path / "out" / "report.html").read_text()
    shown = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "one test 40 10 2 75.0 [10.0, 90.0]" in shown
    (two.folder / "metrics.json").write_text('{"split": "test", "video": {}}')
    with pytest.raises(DataError, match="two cannot be read"):
        report_study(grid)


def test_a_study_without_pretraining_tells_of_none(laid_out, tmp_path):
    grid = laid_out()
    finish_all(grid)
    report_study(grid)
    assert "Pretraining" not in (tmp_path / "out" / "tables.md").read_text()
    assert "Pretraining" not in (tmp_path / "out" / "report.html").read_text()


def test_an_axis_that_is_called_like_a_column_of_the_results_keeps_its_levels(laid_out, tmp_path):
    grid = laid_out(axes={"epochs": [1, 2], "run": {"a": {}}, "mode": {"fc": {}}}, tables=[{"rows": "epochs"}])
    finish_all(grid)
    report_study(grid)
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        first, second = csv.DictReader(file)
    assert [(row["axis.epochs"], row["axis.run"], row["mode"]) for row in (first, second)] == [
        ("1", "a", "fc"), ("2", "a", "fc"),
    ]  # fmt: skip
    assert (second["run"], second["epochs"]) == ("epochs=2,a,fc", "4")


def test_without_a_finished_run_there_is_a_table_of_runs_but_no_report(laid_out, tmp_path):
    grid = laid_out()
    with pytest.raises(UsageError, match="no run of"):
        report_study(grid)
    assert (tmp_path / "out" / "results.csv").exists()


def test_a_damaged_run_is_named(laid_out):
    grid = laid_out()
    finish_all(grid)
    (grid.runs[2].folder / "predictions.csv").write_text("path,label\nx,y\n")
    with pytest.raises(DataError, match="small,fc cannot be read"):
        report_study(grid)


def test_videos_that_name_no_source_are_taken_as_independent(laid_out):
    grid = laid_out()
    for run in grid.runs:
        finish(run, range(20), groups=0)
    table = table_of(grid)
    assert table.cells[0][0].over_groups is None
    assert table.with_best[0].pairing.by_groups is None
    assert table.warnings[0].endswith("points would be seen (80 % power)")


def test_runs_of_other_settings_are_not_reported_as_those_of_the_study(laid_out, write_study, tmp_path):
    finish_all(laid_out())
    with pytest.raises(UsageError, match="epochs was 1, now 2"):
        conduct(write_study(axes=AXES, settings={"epochs": 2}), tmp_path / "out", only="report")
    conduct(write_study(axes=AXES), tmp_path / "out", only="report")
