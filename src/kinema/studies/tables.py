"""Tables as a paper has them: rows and columns of levels, a share with its interval in each cell, and paired tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np

from kinema.evaluation.estimate import Estimate, wilson
from kinema.studies.comparison import ALPHA, Pairing, holm, pair, smallest_difference
from kinema.studies.grid import Grid, RunPlan, matches
from kinema.studies.results import RunResult, share_over_groups
from kinema.studies.study import TablePlan

__all__ = ["Cell", "Comparison", "Table", "build_tables"]

Key = tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        planned: runs that belong in it; none: left out of the study.
        results: those that are finished.
        accuracy: video top-1 over them, Wilson over distinct videos; None where none is finished.
        over_groups: likewise, bootstrap over groups; None where no groups are known.
        spread: standard deviation of the runs' accuracies; None of fewer than two.
        best: whether no other row of the column has a higher figure.
    """

    planned: int
    results: tuple[RunResult, ...]
    accuracy: Estimate | None = None
    over_groups: Estimate | None = None
    spread: float | None = None
    best: bool = False

    @property
    def missing(self) -> int:
        """Runs that are still to be finished."""
        return self.planned - len(self.results)


@dataclass(frozen=True)
class Comparison:
    """Two rows of a column.

    Attributes:
        column: its label; empty of a table with one.
        first: label of the row with the figure that `pairing.difference` is in favour of if above 0.
        second: label of the other.
        pairing: the tests.
        p: what decides, corrected by Holm for all comparisons of its family.
        family: how many those are.
    """

    column: str
    first: str
    second: str
    pairing: Pairing
    p: float
    family: int

    @property
    def separates(self) -> bool:
        """Whether the rows can be told apart."""
        return self.p < ALPHA


@dataclass(frozen=True)
class Table:
    """A finished table.

    Attributes:
        title: above it.
        header: what rows are, such as "model".
        rows: labels.
        columns: labels; one empty label where a table has one column.
        cells: by row, then column.
        with_baseline: each row with the baseline.
        with_best: the best row of each column with the others.
        pooled: axes that cells pool over.
        warnings: what stands over it.
    """

    title: str
    header: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    with_baseline: tuple[Comparison, ...]
    with_best: tuple[Comparison, ...]
    pooled: tuple[str, ...]
    warnings: tuple[str, ...]


def build_tables(grid: Grid, results: Mapping[str, RunResult]) -> tuple[Table, ...]:
    """All tables of a study, or one that suggests itself where it names none."""
    plans = grid.study.tables
    if not plans:
        axes = list(grid.study.axes)
        plans = (TablePlan(rows=(axes[0],), columns=tuple(axes[1:2])),)
    return tuple(
        _build(grid, results, plan, fixed) for plan in plans for fixed in combinations_of(grid, plan.each, plan.where)
    )


def combinations_of(grid: Grid, axes: Sequence[str], where: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    """Every combination of levels of `axes` that runs of `where` have, in the order of the study."""
    there = {tuple(run.levels[axis] for axis in axes) for run in grid.runs if _in(run, where)}
    for levels in product(*(grid.study.axes[axis] for axis in axes)):
        if levels in there:
            yield dict(zip(axes, levels, strict=True))


def label(levels: Mapping[str, str]) -> str:
    """Levels as the row or column that they are."""
    return " · ".join(levels.values())


def _in(run: RunPlan, where: Mapping[str, Sequence[str]]) -> bool:
    return matches(run.levels, {axis: tuple(names) for axis, names in where.items()})


def _build(grid: Grid, results: Mapping[str, RunResult], plan: TablePlan, fixed: Mapping[str, str]) -> Table:
    where = {**plan.where, **{axis: (level,) for axis, level in fixed.items()}}
    runs = [run for run in grid.runs if _in(run, where)]
    rows = list(combinations_of(grid, plan.rows, where))
    columns = list(combinations_of(grid, plan.columns, where))
    cells = [
        [_cell([run for run in runs if run.levels.items() >= {**row, **column}.items()], results) for column in columns]
        for row in rows
    ]
    cells = _with_best(cells)
    named = (*plan.rows, *plan.columns, *plan.each)
    pooled = tuple(axis for axis in grid.study.axes if len({run.levels[axis] for run in runs} or ()) > 1)
    pooled = tuple(axis for axis in pooled if axis not in named)
    comparer = _Comparer(rows, columns, cells, pooled)
    with_best = comparer.best()
    table = Table(
        title=" · ".join(part for part in (plan.title or f"By {', '.join(plan.rows)}", label(fixed)) if part),
        header=" · ".join(plan.rows),
        rows=tuple(label(row) for row in rows),
        columns=tuple(label(column) for column in columns),
        cells=tuple(tuple(line) for line in cells),
        with_baseline=comparer.baseline(grid.study.baseline),
        with_best=with_best,
        pooled=pooled,
        warnings=(),
    )
    return replace(table, warnings=tuple(_warnings(table)))


def _cell(runs: Sequence[RunPlan], results: Mapping[str, RunResult]) -> Cell:
    found = tuple(results[run.name] for run in runs if run.name in results)
    if not found:
        return Cell(len(runs), ())
    right: dict[str, list[bool]] = {}
    groups: dict[str, str] = {}
    for result in found:
        data, answers = result.run.record["data"], result.answers
        for video, group, correct in zip(answers.videos, answers.groups, answers.correct.tolist(), strict=True):
            right.setdefault(f"{data}\t{video}", []).append(correct)
            groups[f"{data}\t{video}"] = f"{data}\t{group}"
    # Several runs answer the same videos: that makes their share steadier, not the videos more.
    shares = np.array([np.mean(answers) for answers in right.values()])
    over = None
    if all(result.answers.grouped for result in found):
        over = share_over_groups(shares, list(groups.values()))
    each = [result.answers.accuracy.value for result in found]
    spread = float(np.std(each, ddof=1)) if len(each) > 1 else None
    return Cell(len(runs), found, wilson(float(shares.sum()), len(shares)), over, spread)


def _with_best(cells: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    columns = []
    for column in zip(*cells, strict=True):
        values = [cell.accuracy.value for cell in column if cell.accuracy]
        highest = max(values, default=None)
        columns.append(
            [
                replace(c, best=len(values) > 1 and c.accuracy is not None and c.accuracy.value == highest)
                for c in column
            ]
        )
    return [list(row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class _Comparer:
    """The paired tests of one table."""

    rows: Sequence[Mapping[str, str]]
    columns: Sequence[Mapping[str, str]]
    cells: Sequence[Sequence[Cell]]
    pooled: Sequence[str]

    def baseline(self, baseline: Mapping[str, str]) -> tuple[Comparison, ...]:
        """Each row with the one that differs from it by the baseline's levels; a family of its own."""
        wanted = []
        for number, row in enumerate(self.rows):
            levels = {axis: baseline.get(axis, level) for axis, level in row.items()}
            if levels != row and levels in self.rows:
                wanted.append((number, self.rows.index(levels)))
        return self._family([(column, *rows) for column in range(len(self.columns)) for rows in wanted])

    def best(self) -> tuple[Comparison, ...]:
        """The best row of each column with the others.

        Which row is best is learnt from the same videos, so the correction counts every pair of rows:
        it holds whichever pairs are looked at afterwards.
        """
        pairs = list(combinations(range(len(self.rows)), 2))
        family = self._family([(column, *rows) for column in range(len(self.columns)) for rows in pairs])
        best = {}
        for number, column in enumerate(self.columns):
            first = next((row for row, cells in enumerate(self.cells) if cells[number].best), None)
            best[label(column)] = None if first is None else label(self.rows[first])
        found = []
        for one in family:
            if best[one.column] == one.first:
                found.append(one)
            elif best[one.column] == one.second:
                found.append(_turned(one))
        return tuple(found)

    def _family(self, triples: Sequence[tuple[int, int, int]]) -> tuple[Comparison, ...]:
        found = [(triple, pairing) for triple in triples if (pairing := self._pair(*triple)) is not None]
        corrected = holm([pairing.p for _, pairing in found])
        return tuple(
            Comparison(
                label(self.columns[column]), label(self.rows[first]), label(self.rows[second]), pairing, p, len(found)
            )
            for ((column, first, second), pairing), p in zip(found, corrected, strict=True)
        )

    def _pair(self, column: int, first: int, second: int) -> Pairing | None:
        """Only runs that both rows have: those that agree in all that the table pools over."""
        one, other = (self._by_rest(self.cells[row][column]) for row in (first, second))
        both = [key for key in one if key in other]
        return pair([one[key] for key in both], [other[key] for key in both]) if both else None

    def _by_rest(self, cell: Cell) -> dict[Key, RunResult]:
        return {_rest(result, self.pooled): result for result in cell.results}


def _rest(result: RunResult, pooled: Sequence[str]) -> Key:
    """What tells a run from the others of its cell, and is the same of its match in another row."""
    return tuple(result.run.levels[axis] for axis in pooled)


def _turned(one: Comparison) -> Comparison:
    """The same comparison, told from the other side."""
    pairing = replace(
        one.pairing,
        first=one.pairing.second,
        second=one.pairing.first,
        difference=-one.pairing.difference,
    )
    return replace(one, first=one.second, second=one.first, pairing=pairing)


def _warnings(table: Table) -> Iterator[str]:
    missing = sum(cell.missing for row in table.cells for cell in row)
    if missing:
        planned = sum(cell.planned for row in table.cells for cell in row)
        yield f"{missing} of {planned} runs are missing: figures and tests are of those that are finished"
    splits = {result.split for row in table.cells for cell in row for result in cell.results}
    if "val" in splits:
        yield "Nothing was held out for a test: these are validation videos, by which the epoch was chosen"
    for number, column in enumerate(table.columns):
        at = f"{column}: " if len(table.columns) > 1 else ""
        held = [row[number] for row in table.cells if row[number].results]
        if len(held) > 1:
            texts = (*_other_runs(table.pooled, held), *_cannot_separate(table, column, held))
            yield from (f"{at}{text}" for text in texts)


def _other_runs(pooled: Sequence[str], held: Sequence[Cell]) -> Iterator[str]:
    """What stands over rows whose figures are not of the same runs."""
    rows = [{_rest(result, pooled) for result in cell.results} for cell in held]
    everywhere = set.intersection(*rows)
    alone = sum(len(keys - everywhere) for keys in rows)
    if not alone:
        return
    differing = [
        axis for place, axis in enumerate(pooled) if len({frozenset(key[place] for key in keys) for keys in rows}) > 1
    ]
    axes = ", ".join(differing or pooled)
    if all(one.isdisjoint(other) for one, other in combinations(rows, 2)):
        yield (
            f"The rows have no runs in common that differ in the row alone: they differ in {axes}, too, "
            "so no paired test compares them"
        )
    else:
        yield (
            f"The rows pool different levels of {axes}: {alone} of {sum(map(len, rows))} runs are not in every row, "
            "so figures of rows are not of the same runs; tests are of those that two rows share"
        )


def _cannot_separate(table: Table, column: str, held: Sequence[Cell]) -> Iterator[str]:
    """What stands over rows that the tests leave together."""
    compared = [one for one in table.with_best if one.column == column]
    ranked = sorted(held, key=lambda cell: not cell.best)
    best, *others = ({_rest(result, table.pooled) for result in cell.results} for cell in ranked)
    matched = sum(not best.isdisjoint(keys) for keys in others)
    if not compared:
        if matched:
            yield "The rows were not tested on the same videos, so no paired test compares them"
        return
    if len(compared) < matched or any(one.pairing.apart for one in compared):
        yield "Not all rows were tested on the same videos: tests are of those that two rows share"
    alpha = ALPHA / compared[0].family
    alike = [one for one in compared if not one.separates]
    # Of rows that share other videos with the best, some may share too few sources, and others not.
    for blind in (True, False):
        part = [one for one in alike if _is_blind(one, alpha) == blind]
        if not part:
            continue
        n = min(one.pairing.n for one in part)
        all_rows = len(part) == len(compared)
        what = "these rows" if all_rows else f"{part[0].first} from {', '.join(one.second for one in part)}"
        yield f"n = {n} cannot separate {what}: {_few_sources(part) if blind else _bound(part, n, alpha)}"


def _is_blind(one: Comparison, alpha: float) -> bool:
    """Whether so few sources decide that even rows that differ in all of them, all one way, would stay together."""
    # Of 2^G exchanges two part the rows as far as that: the one that was seen, and all of them turned.
    return one.pairing.groups is not None and 2.0 ** (1 - one.pairing.groups) >= alpha


def _few_sources(alike: Sequence[Comparison]) -> str:
    groups = max(one.pairing.groups or 0 for one in alike)
    return f"no difference at all would be seen from so few sources ({groups})"


def _bound(alike: Sequence[Comparison], n: int, alpha: float) -> str:
    """The smallest difference that would be seen, as McNemar's test sees it: videos won, of which each is a margin."""
    discordant = float(np.mean([(one.pairing.first + one.pairing.second) / one.pairing.n for one in alike]))
    seen = smallest_difference(n, discordant, alpha=alpha)
    if seen is None:
        return "no difference at all would be seen"
    margin = float(np.mean([one.pairing.margin for one in alike]))
    bound = f"only differences above about {100 * seen * margin:.0f} points would be seen (80 % power)"
    shared = any(one.pairing.groups is not None and one.pairing.groups < one.pairing.n for one in alike)
    return f"{bound}, more where clips of one source agree" if shared else bound
