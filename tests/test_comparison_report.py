"""Reports of comparisons against numbers computed by hand, with a snapshot of every table."""

import csv
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from jepa.comparison import figures
from jepa.comparison import tables as tables_module
from jepa.comparison.compute import sampled_plans, search_points
from jepa.comparison.figures import COLOURS, write_figures
from jepa.comparison.latex import escape_latex, latex
from jepa.comparison.ledger import ledger
from jepa.comparison.report import markdown, print_report, write_report
from jepa.comparison.results import read_comparison
from jepa.comparison.rows import transitions_tables
from jepa.comparison.tables import SOLVED_SHARES, Column, Table, make_tables, shares_by_transitions
from jepa.config import Experiment, to_json
from jepa.envs.pocket_cube import PocketCube
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.figures import style
from jepa.metrics import stratified_bootstrap_interval, two_way_bootstrap_interval, wilson_interval
from tests.comparison_cells import REPORT_FILES, entry_json

CUBE, TILES = PocketCube(), SlidingTiles(rows=2, columns=3)
CUBE_28, TILES_28 = Column(domain="pocket_cube", num_transitions=28), Column(domain=TILES.name, num_transitions=28)


def add(root: Path, config: str, env, seed: int, solved: str, *, budget: int = 28, fields=None, **summary) -> Path:
    """Writes a cell; `solved` has an x for every solved problem and a dot for every other one."""
    experiment = Experiment(env=env, num_transitions=budget, seed=seed)
    folder = root / config / str(budget) / f"seed{seed}"
    folder.mkdir(parents=True)
    (folder / "cell.json").write_text(json.dumps(entry_json(experiment, **(fields or {}))))
    lengths, optimal = summary.pop("lengths", [2] * len(solved)), summary.pop("optimal", [2] * len(solved))
    problems = summary.pop("problems", range(len(solved)))
    records = [
        {
            "start": [problem], "goal": [0], "actions": [0] * length, "solved": mark == "x", "optimal_length": least,
        }
        for problem, mark, length, least in zip(problems, solved, lengths, optimal, strict=True)
    ]  # fmt: skip
    plain = {
        "num_problems": len(solved), "solved_fraction": solved.count("x") / len(solved), "seed": seed,
        "num_transitions": budget, "config": to_json(experiment), "mean_nodes_generated": 1000.0,
        "seconds_per_problem": 0.25, "training_seconds": 60.0, "num_parameters": 12345, "num_gradient_samples": 99,
        "provenance": {"device_kind": "cpu", "num_cpus": 2, "git_commit": "abc"},
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(plain | summary))
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def add_unfinished(root: Path, config: str, env, seed: int, *, budget: int = 28, **fields) -> None:
    folder = root / config / str(budget) / f"seed{seed}"
    folder.mkdir(parents=True)
    entry = entry_json(Experiment(env=env, num_transitions=budget, seed=seed), **fields)
    (folder / "cell.json").write_text(json.dumps(entry))


PPO = {"fields": {"method": "ppo_100%"}}


@pytest.fixture
def root(tmp_path) -> Path:
    """Two methods on two domains, three seeds; one cell has failed and two have not run."""
    rates = {0: "xxxx", 1: "xxx.", 2: "xx.."}
    for seed, solved in rates.items():
        add(tmp_path, "cube_jepa", CUBE, seed, solved, lengths=[2, 4, 6, 1], optimal=[2, 2, None, 1])
        add(tmp_path, "tiles_jepa", TILES, seed, "xxxx")
        add(tmp_path, "cube_ppo", CUBE, seed, "....", mean_nodes_generated=0.0, mean_planning_verifier_calls=7.5, **PPO)
    add(tmp_path, "tiles_ppo", TILES, 0, "x...", seconds_per_problem=None, **PPO)
    add_unfinished(
        tmp_path, "tiles_ppo", TILES, 1, method="ppo_100%", status="failed", error="exit status 1\nout of | memory"
    )
    add_unfinished(tmp_path, "tiles_ppo", TILES, 2, method="ppo_100%", status="waiting")
    return tmp_path


def one_table(root: Path) -> Table:
    (table,) = make_tables(read_comparison([root], {}))
    return table


# ---- numbers


def test_success_is_the_share_over_seeds_and_problems_with_the_interval_of_both(root):
    table = one_table(root)
    estimate = table.success("LatentPlanner", CUBE_28)
    solved = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]], float)
    assert estimate.value == 0.75
    assert (estimate.low, estimate.high) == two_way_bootstrap_interval(solved, np.mean)
    all_solved = table.success("LatentPlanner", TILES_28)  # A bootstrap would be certain.
    assert (all_solved.low, all_solved.high) == wilson_interval(4, 4)
    assert table.success("ppo_100%", TILES_28).value == 0.25
    assert table.success("ppo_100%", Column(domain="other", num_transitions=28)) is None


def test_lengths_are_those_of_right_plans_with_known_optimum(root):
    table = one_table(root)
    # Right plans with known optimum: moves 2, 4 of every seed, and 1 of the first; optimal 2, 2 and 1.
    assert table.groups["LatentPlanner", CUBE_28].lengths == ((3 * 2 + 3 * 4 + 1) / 7, (3 * 2 + 3 * 2 + 1) / 7)
    assert all(math.isnan(length) for length in table.groups["ppo_100%", CUBE_28].lengths)


def test_lengths_without_any_optimum_are_those_of_right_plans(tmp_path):
    add(tmp_path, "a", CUBE, 0, "xx.", lengths=[3, 4, 9], optimal=[None, None, None])
    moves, optimal = one_table(tmp_path).groups["LatentPlanner", CUBE_28].lengths
    assert moves == 3.5 and math.isnan(optimal)


def test_aggregate_is_over_runs_and_only_of_seeds_that_are_everywhere(root):
    table = one_table(root)
    found = table.aggregates["LatentPlanner"]
    scores = np.array([[1.0, 1.0], [0.75, 1.0], [0.5, 1.0]])
    assert found.iqm.value == pytest.approx((0.75 + 1.0 + 1.0 + 1.0) / 4)  # Of 6 runs the worst and a best are cut.
    assert (found.iqm.low, found.iqm.high) == stratified_bootstrap_interval(scores, tables_module.interquartile_mean)
    assert found.gap == pytest.approx((0.25 + 0.5) / 6)
    assert found.num_seeds == 3
    single = table.aggregates["ppo_100%"]
    assert (single.num_seeds, single.iqm.value, single.gap) == (1, 0.125, 0.875)
    assert math.isnan(single.iqm.low)  # One seed tells nothing of others.


def test_no_aggregate_where_a_domain_is_missing(root, tmp_path):
    add(root, "tiles_other", TILES, 0, "xxxx", fields={"method": "other"})
    table = one_table(root)
    assert table.aggregates["other"] is None and table.aggregates["LatentPlanner"] is not None


def test_who_beats_whom_by_hand(root):
    (one,) = one_table(root).improvements
    assert (one.better, one.worse, one.num_columns) == ("LatentPlanner", "ppo_100%", 2)
    assert one.probability.value == 1.0 and math.isnan(one.probability.low)  # A single seed of ppo on the tiles.


def test_the_more_frequent_winner_comes_first_with_an_interval(tmp_path):
    for seed, (first, second) in enumerate([("x...", "xx.."), ("xx..", "xxx."), ("xxx.", "xxxx")]):
        add(tmp_path, "a", CUBE, seed, first, fields={"method": "a"})
        add(tmp_path, "b", CUBE, seed, second, fields={"method": "b"})
    (one,) = one_table(tmp_path).improvements
    assert (one.better, one.worse) == ("b", "a")
    assert one.probability.value == pytest.approx((1 + 0.5 + 2 + 0.5 + 3) / 9)  # 2/4, 3/4, 4/4 against 1/4, 2/4, 3/4
    assert 0.0 <= one.probability.low < one.probability.value < one.probability.high <= 1.0


@pytest.mark.parametrize(
    ("intervals", "best"),
    [
        ({"a": (0.9, 0.8, 1.0), "b": (0.5, 0.4, 0.6)}, {"a"}),
        ({"a": (0.9, 0.8, 1.0), "b": (0.7, 0.6, 0.8), "c": (0.6, 0.5, 0.7)}, {"a", "b"}),
        ({"a": (0.9, 0.8, 1.0)}, set()),
    ],
)
def test_best_is_whoever_overlaps_the_best(monkeypatch, intervals, best):
    estimates = {
        name: tables_module.Estimate(value=value, low=low, high=high) for name, (value, low, high) in intervals.items()
    }
    monkeypatch.setattr(Table, "success", lambda table, method, column: estimates.get(method))
    table = Table(title="", methods=(*intervals, "nothing"), columns=(CUBE_28,), groups={})
    assert table.best(CUBE_28) == best


# ---- which table, row and column


def test_a_table_per_budget_and_one_where_each_domain_has_its_own(tmp_path):
    add(tmp_path, "a", CUBE, 0, "x", budget=28)
    add(tmp_path, "b", TILES, 0, "x", budget=1400)
    (table,) = make_tables(read_comparison([tmp_path], {}))
    assert [(column.domain, column.num_transitions) for column in table.columns] == [
        ("pocket_cube", 28), ("sliding_tiles_2x3", 1400),
    ]  # fmt: skip
    assert "sliding_tiles_2x3, 1,400" in markdown([table], [], [])
    add(tmp_path, "a", CUBE, 0, "x", budget=1400)
    found = make_tables(read_comparison([tmp_path], {}))
    assert [table.title for table in found] == ["28 transitions", "1,400 transitions"]
    assert [[column.domain for column in table.columns] for table in found] == [
        ["pocket_cube"], ["pocket_cube", "sliding_tiles_2x3"],
    ]  # fmt: skip


def test_a_method_that_was_tried_on_easy_domains_alone_stands_below_those_tried_on_all(tmp_path):
    add(tmp_path, "a", CUBE, 0, "x...")
    add(tmp_path, "b", TILES, 0, "xx..")
    add(tmp_path, "c", CUBE, 0, "....", **PPO)
    add(tmp_path, "d", TILES, 0, "x...", **PPO)
    add(tmp_path, "e", TILES, 0, "xxxx", fields={"method": "easy"})
    assert one_table(tmp_path).methods == ("LatentPlanner", "ppo_100%", "easy")


def test_configs_that_would_be_one_row_get_rows_of_their_own(tmp_path):
    add(tmp_path, "narrow", CUBE, 0, "x...")
    add(tmp_path, "wide", CUBE, 0, "xxx.")
    add(tmp_path, "tiles", TILES, 0, "xxx.", fields={"method": "PPO"})
    assert one_table(tmp_path).methods == ("LatentPlanner (wide)", "PPO", "LatentPlanner (narrow)")


def test_rows_of_configs_go_on_over_domains(tmp_path):
    for domain, env, solved in (("pocket_cube", CUBE, "xxx."), ("sliding_tiles", TILES, "xx..")):
        add(tmp_path, f"{domain}_ours", env, 0, solved)
        add(tmp_path, f"{domain}_ppo", env, 0, "....", **PPO)
    add(tmp_path, "pocket_cube_ours_tree_search", CUBE, 0, "x...")
    table = one_table(tmp_path)
    assert table.methods == ("LatentPlanner (ours)", "ppo_100%", "LatentPlanner (ours_tree_search)")
    assert table.aggregates["LatentPlanner (ours)"].gap == pytest.approx((0.25 + 0.5) / 2)


def test_a_summary_may_name_its_method_and_its_unfinished_seeds_go_with_it(tmp_path):
    add(tmp_path, "a", CUBE, 0, "x", method="jepa", domain="cube")
    add_unfinished(tmp_path, "a", CUBE, 1, status="failed")
    assert {(result.method, result.domain) for result in read_comparison([tmp_path], {})} == {("jepa", "cube")}


def test_cells_on_other_problems_than_their_domain_do_not_count(tmp_path):
    add(tmp_path, "a", CUBE, 0, "xx")
    add(tmp_path, "a", CUBE, 1, "x.")
    add(tmp_path, "a", CUBE, 2, "..", problems=[8, 9])
    add(tmp_path, "b", TILES, 0, "..", problems=[8, 9])
    results = read_comparison([tmp_path], {})
    assert [result.status for result in results] == ["finished", "finished", "other problems", "finished"]
    assert make_tables(results)[0].success("LatentPlanner", CUBE_28).value == 0.75
    assert "| a/28/seed2 | other problems |" in markdown(make_tables(results), results, [])


def test_damaged_cells_are_named(tmp_path):
    good = add(tmp_path, "a", CUBE, 0, "xx")
    (add(tmp_path, "a", CUBE, 1, "xx") / "cell.json").write_text("{")
    (add(tmp_path, "a", CUBE, 2, "xx") / "summary.json").write_text("{")
    (add(tmp_path, "lost", CUBE, 0, "xx") / "cell.json").unlink()
    add(tmp_path, "a", CUBE, 3, "xx").rename(good.with_name("old1-seed3"))  # What was set aside does not count.
    results = read_comparison([tmp_path], {})
    assert [(result.name, result.status) for result in results] == [
        ("a/28/seed0", "finished"), ("a/28/seed1", "damaged"), ("a/28/seed2", "damaged"), ("lost/28/seed0", "damaged"),
    ]  # fmt: skip
    assert [result.method for result in results] == 3 * ["LatentPlanner"] + ["? (lost)"]
    text = markdown(make_tables(results), results, [])
    assert "| LatentPlanner | 100.0 [34.2, 100.0] (2 damaged) |" in text
    assert "| lost/28/seed0 | damaged | cell.json cannot be read: No such file or directory |" in text


def test_what_a_comparison_refuses_to_take_counts_as_that(root):
    refused = {"cube_jepa/28/seed0": ("changed", "it was run otherwise: width: 1 -> 2")}
    results = read_comparison([root], refused)
    assert one_table(root).success("LatentPlanner", CUBE_28).value == 0.75
    assert make_tables(results)[0].success("LatentPlanner", CUBE_28).value == 5 / 8
    assert "| cube_jepa/28/seed0 | changed | it was run otherwise: width: 1 -> 2 |" in markdown([], results, [])


def test_an_empty_folder_is_no_comparison(tmp_path):
    with pytest.raises(ValueError, match="no cell is in"):
        read_comparison([tmp_path], {})


# ---- files


def report_on(root: Path) -> list[Path]:
    results = read_comparison([root], {})
    return write_report(make_tables(results), results, root)


@pytest.fixture
def plain_intervals(monkeypatch):
    """Intervals that do not depend on the stream of random numbers: from the least to the greatest value."""
    for name in ("two_way_bootstrap_interval", "stratified_bootstrap_interval"):
        monkeypatch.setattr(tables_module, name, lambda values, statistic: (float(values.min()), float(values.max())))


def test_markdown_snapshot(root, plain_intervals):
    results = read_comparison([root], {})
    text = markdown(make_tables(results), results, ["A note."])
    tables, _, notes = text.partition("\n\nSolved: ")
    assert (
        tables
        == """# Comparison

## Solved, in %: 28 transitions

| method | pocket_cube | sliding_tiles_2x3 | IQM | gap |
| --- | --- | --- | --- | --- |
| LatentPlanner | **75.0** [0.0, 100.0] | **100.0** [51.0, 100.0] | 93.8 [50.0, 100.0] | 12.5 |
| ppo_100% | **0.0** [0.0, 49.0] | **25.0** [0.0, 100.0] (1 failed, 1 waiting) | 12.5 (1 of 3 seeds) | 87.5 |

## Solved strictly, in %: 28 transitions

| method | pocket_cube | sliding_tiles_2x3 |
| --- | --- | --- |
| LatentPlanner | 44.4 [0.0, 100.0] | 100.0 [51.0, 100.0] |
| ppo_100% | 0.0 [0.0, 49.0] | 25.0 [0.0, 100.0] |

## Details: 28 transitions

| domain | method | solved | solved strictly | moves (optimal) | nodes | s / problem | seeds |
| --- | --- | --- | --- | --- | --- | --- | --- |
| pocket_cube | LatentPlanner | 75.0 [0.0, 100.0] | 44.4 [0.0, 100.0] | 2.71 (1.86) | 1,000 | 0.2500 | 3 of 3 |
| pocket_cube | ppo_100% | 0.0 [0.0, 49.0] | 0.0 [0.0, 49.0] | - (-) | 0 | 0.2500 | 3 of 3 |
| sliding_tiles_2x3 | LatentPlanner | 100.0 [51.0, 100.0] | 100.0 [51.0, 100.0] | 2.00 (2.00) | 1,000 | 0.2500 | 3 of 3 |
| sliding_tiles_2x3 | ppo_100% | 25.0 [0.0, 100.0] (1 failed, 1 waiting) | 25.0 [0.0, 100.0] | 2.00 (2.00) | 1,000 | - | 1 of 3 |

## Costs: 28 transitions

| domain | method | moves seen | verifier calls in learning | verifier calls per plan | gradient samples | parameters | training s |
| --- | --- | --- | --- | --- | --- | --- | --- |
| pocket_cube | LatentPlanner | 28 | - | - | 99 | 12,345 | 60 |
| pocket_cube | ppo_100% | 28 | - | 8 | 99 | 12,345 | 60 |
| sliding_tiles_2x3 | LatentPlanner | 28 | - | - | 99 | 12,345 | 60 |
| sliding_tiles_2x3 | ppo_100% | 28 | - | - | 99 | 12,345 | 60 |

## Who beats whom: 28 transitions

| X | Y | P(X beats Y), % | domains |
| --- | --- | --- | --- |
| LatentPlanner | ppo_100% | 100.0 | 2 |

## Cells without results

| cell | status | reason |
| --- | --- | --- |
| tiles_ppo/28/seed1 | failed | exit status 1 out of \\| memory |
| tiles_ppo/28/seed2 | waiting |  |"""  # noqa: E501
    )
    assert notes.endswith("\n\nA note.\n") and "at the same time" not in notes


def test_floors_and_ceilings_by_hand(root):
    for seed, ceiling in enumerate((1.0, 0.75)):
        path = root / f"cube_jepa/28/seed{seed}/summary.json"
        bounds = {
            "exact_model_solved_fraction": ceiling, "random_solved_fraction": 0.25, "false_claim_fraction": 0.125,
        }  # fmt: skip
        path.write_text(json.dumps(json.loads(path.read_text()) | bounds))
    path = root / "cube_ppo/28/seed0/summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"random_solved_fraction": 0.5}))
    results = read_comparison([root], {})
    expected = """## Floors and ceilings: 28 transitions

| domain | method | solved, % | same search on true dynamics, % | random plans, as many nodes, % | false claims, % |
| --- | --- | --- | --- | --- | --- |
| pocket_cube | LatentPlanner | 75.0 | 87.5 | 25.0 | 12.5 |
| pocket_cube | ppo_100% | 0.0 | - | 50.0 | - |

"""
    assert expected in markdown(make_tables(results), results, [])
    assert r"\caption{Floors and ceilings; 28 transitions.}" in latex(make_tables(results))


def test_latex_snapshot(root, plain_intervals):
    text = latex([one_table(root)])
    assert (
        text
        == r"""% Made by `python eval.py report`; needs \usepackage{booktabs}.

\begin{table}
\centering
\caption{Solved test problems in \%, with 95 \% intervals over seeds and problems; 28 transitions.}
\begin{tabular}{lrrrr}
\toprule
method & pocket\_cube & sliding\_tiles\_2x3 & IQM & gap \\
\midrule
LatentPlanner & \textbf{75.0} [0.0, 100.0] & \textbf{100.0} [51.0, 100.0] & 93.8 [50.0, 100.0] & 12.5 \\
ppo\_100\% & \textbf{0.0} [0.0, 49.0] & \textbf{25.0} [0.0, 100.0] (1 failed, 1 waiting) & 12.5 (1 of 3 seeds) & 87.5 \\
\bottomrule
\end{tabular}
\end{table}

\begin{table}
\centering
\caption{Test problems that are solved by a plan of the fewest moves, in \%, with 95 \% intervals; 28 transitions.}
\begin{tabular}{lrr}
\toprule
method & pocket\_cube & sliding\_tiles\_2x3 \\
\midrule
LatentPlanner & 44.4 [0.0, 100.0] & 100.0 [51.0, 100.0] \\
ppo\_100\% & 0.0 [0.0, 49.0] & 25.0 [0.0, 100.0] \\
\bottomrule
\end{tabular}
\end{table}

\begin{table}
\centering
\caption{Plans; 28 transitions.}
\begin{tabular}{llrrrrrr}
\toprule
domain & method & solved & solved strictly & moves (optimal) & nodes & s / problem & seeds \\
\midrule
pocket\_cube & LatentPlanner & 75.0 [0.0, 100.0] & 44.4 [0.0, 100.0] & 2.71 (1.86) & 1,000 & 0.2500 & 3 of 3 \\
pocket\_cube & ppo\_100\% & 0.0 [0.0, 49.0] & 0.0 [0.0, 49.0] & - (-) & 0 & 0.2500 & 3 of 3 \\
sliding\_tiles\_2x3 & LatentPlanner & 100.0 [51.0, 100.0] & 100.0 [51.0, 100.0] & 2.00 (2.00) & 1,000 & 0.2500 & 3 of 3 \\
sliding\_tiles\_2x3 & ppo\_100\% & 25.0 [0.0, 100.0] (1 failed, 1 waiting) & 25.0 [0.0, 100.0] & 2.00 (2.00) & 1,000 & - & 1 of 3 \\
\bottomrule
\end{tabular}
\end{table}

\begin{table}
\centering
\caption{What learning and plans cost; 28 transitions.}
\begin{tabular}{llrrrrrr}
\toprule
domain & method & moves seen & verifier calls in learning & verifier calls per plan & gradient samples & parameters & training s \\
\midrule
pocket\_cube & LatentPlanner & 28 & - & - & 99 & 12,345 & 60 \\
pocket\_cube & ppo\_100\% & 28 & - & 8 & 99 & 12,345 & 60 \\
sliding\_tiles\_2x3 & LatentPlanner & 28 & - & - & 99 & 12,345 & 60 \\
sliding\_tiles\_2x3 & ppo\_100\% & 28 & - & - & 99 & 12,345 & 60 \\
\bottomrule
\end{tabular}
\end{table}
"""  # noqa: E501
    )


def test_latex_prints_every_character_as_it_is():
    assert escape_latex(r"50 % of a_b & $c #d {e} ~f ^g \h") == (
        r"50 \% of a\_b \& \$c \#d \{e\} \textasciitilde{}f \textasciicircum{}g \textbackslash{}h"
    )


def test_ledger_has_a_line_per_cell_with_all_that_it_was_charged_for(root):
    rows = list(csv.DictReader(ledger(read_comparison([root], {})).splitlines()))
    assert len(rows) == 12
    assert rows[0] == {
        "config": "cube_jepa", "method": "LatentPlanner", "domain": "pocket_cube", "budget": "28",
        "num_transitions": "28", "seed": "0", "status": "finished", "jobs": "1", "num_problems": "4",
        "solved_fraction": "1.0", "mean_plan_length": "", "mean_optimal_length": "", "optimal_fraction": "",
        "mean_nodes_generated": "1000.0", "training_verifier_calls": "", "mean_planning_verifier_calls": "",
        "num_gradient_samples": "99",
        "num_parameters": "12345", "training_seconds": "60.0", "seconds_per_problem": "0.25",
        "false_claim_fraction": "", "exact_model_solved_fraction": "", "random_solved_fraction": "",
        "device_kind": "cpu", "num_cpus": "2", "git_commit": "abc",
    }  # fmt: skip
    assert [row["mean_planning_verifier_calls"] for row in rows if row["config"] == "cube_ppo"] == 3 * ["7.5"]
    failed = rows[-2]
    assert (failed["status"], failed["seed"], failed["solved_fraction"]) == ("failed", "1", "")


def test_crowding_is_said(tmp_path):
    add(tmp_path, "a", CUBE, 0, "x", fields={"jobs": 3})
    results = read_comparison([tmp_path], {})
    assert "Up to 3 cells ran at the same time" in markdown(make_tables(results), results, [])


def test_printed_report_names_what_is_missing(root, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    results = read_comparison([root], {})
    print_report(make_tables(results), results)
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert "method pocket cube sliding tiles 2x3 gap seeds".split() in rows
    assert ["LatentPlanner", "75.0", "100.0", "12.5", "3"] in rows
    assert ["ppo_100%", "0.0", "25.0", "87.5", "1-3"] in rows
    assert out.splitlines()[-2:] == ["tiles_ppo/28/seed1: failed", "tiles_ppo/28/seed2: waiting"]


def test_report_has_tables_and_figures_without_dates(root):
    pytest.importorskip("matplotlib")
    paths = report_on(root)
    names = ["success_by_transitions", "success_by_nodes", "performance_profiles", "probability_of_improvement"]
    figures = [f"{name}.{kind}" for name in names for kind in ("pdf", "png")]
    assert [path.name for path in paths] == [*REPORT_FILES, *figures]
    assert "No figures" not in paths[0].read_text()
    for pdf, png in zip(paths[4::2], paths[5::2], strict=True):
        content = pdf.read_bytes()
        assert content.startswith(b"%PDF-") and b"CreationDate" not in content  # The same results, the same file.
        assert png.read_bytes().startswith(b"\x89PNG")


def test_figures_of_one_method_leave_out_who_beats_whom(tmp_path):
    pytest.importorskip("matplotlib")
    add(tmp_path, "a", CUBE, 0, "x.")
    names = {path.stem for path in write_figures([one_table(tmp_path)], tmp_path)}
    assert names == {"success_by_transitions", "success_by_nodes", "performance_profiles"}


def add_curve(folder: Path, points: dict[float, str], temperature: float = 0.5, **samples: list) -> None:
    """Writes the curve.json of a cell: what each size of the search solves, and perhaps what samples are worth."""
    experiment = json.loads((folder / "cell.json").read_text())["experiment"]
    search = [
        {"scale": scale, "mean_nodes_generated": 1000.0 * scale, "solved": [mark == "x" for mark in solved]}
        for scale, solved in points.items()
    ]
    sizes = {"num_samples": 2, "k": [1, 2], "temperature": temperature, "mean_nodes_per_sample": 8.0}
    found = sizes | samples if samples else None
    curve = {"num_problems": 4, "search": search, "samples": found, "config": experiment}
    (folder / "curve.json").write_text(json.dumps(curve))


def test_more_and_less_search_and_samples_by_hand(root):
    shares = {"rerank_at_k": [0.5, 0.75], "consensus_at_k": [0.5, 0.5]}
    for seed, solved in enumerate(("xx..", "x...", "....")):
        samples = shares | {"pass_at_k_oracle": [0.5, 1.0 - seed / 2]} if seed < 2 else {}
        add_curve(root / f"cube_jepa/28/seed{seed}", {0.25: solved}, temperature=0.2 + seed, **samples)
    group = one_table(root).groups["LatentPlanner", CUBE_28]
    little, own = search_points(group)
    assert (little.scale, little.nodes, little.success.value, little.num_seeds) == (0.25, 250.0, 3 / 12, 3)
    assert (own.scale, own.nodes, own.success.value, own.num_seeds) == (1.0, 1000.0, 9 / 12, 3)
    one, two = sampled_plans(group)
    assert (one.k, one.passed, one.nodes, one.num_seeds) == (1, 0.5, 8.0, 2)
    assert (two.k, two.passed, two.reranked, two.consensus, two.nodes) == (2, 0.75, 0.75, 0.5, 16.0)
    results = read_comparison([root], {})
    text = markdown(make_tables(results), results, [])
    assert "| pocket_cube | LatentPlanner | 0.25 | 25.0 [" in text and "] | 250 | 3 |" in text
    assert "| pocket_cube | LatentPlanner | 2 | 75.0 | 75.0 | 50.0 | 16 | 0.2, 1.2 | 2 |" in text
    pytest.importorskip("matplotlib")
    assert "success_by_samples" in {path.stem for path in write_figures(make_tables(results), root)}


def test_a_curve_of_another_experiment_does_not_count(root):
    folder = root / "cube_jepa/28/seed0"
    add_curve(folder, {0.25: "xxxx"})
    curve = json.loads((folder / "curve.json").read_text())
    (folder / "curve.json").write_text(json.dumps(curve | {"config": {}}))
    assert [point.scale for point in search_points(one_table(root).groups["LatentPlanner", CUBE_28])] == [1.0]


@pytest.mark.parametrize("num_methods", [3, 21])
@pytest.mark.parametrize("num_panels", [1, 3])
def test_the_legend_stays_inside_the_figure_and_off_its_panels(num_methods, num_panels):
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(style.STYLE):
        figure = Figure(figsize=(2.6 * num_panels + 1.7, 3.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(1, num_panels, squeeze=False)[0])
        for index in range(num_methods):
            axes[0].plot([0, 1], label=f"LatentPlanner (ours_cross_entropy {index})")
        style._add_legend(figure, axes)
        figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert 0 <= box.y0 < box.y1 <= figure.bbox.height
    assert not any(box.overlaps(axis.get_tightbbox()) for axis in axes)


def test_what_more_transitions_solve_by_hand(tmp_path):
    add(tmp_path, "cube_jepa", CUBE, 0, "x.", optimal=[2, 2])
    add(tmp_path, "cube_jepa", CUBE, 0, "xx", budget=56, optimal=[2, 1])
    add(tmp_path, "cube_ppo", CUBE, 0, "x.", budget=56, **PPO)
    add(tmp_path, "tiles_jepa", TILES, 0, "x.", budget=56)
    tables = make_tables(read_comparison([tmp_path], {}))
    shares = {name: shares_by_transitions(tables, "pocket_cube", share) for name, share in SOLVED_SHARES.items()}
    values = {
        (name, method, column.num_transitions): estimate.value
        for name, found in shares.items()
        for method, estimates in found.items()
        for column, estimate in estimates.items()
    }
    assert values == {
        ("solved", "LatentPlanner", 28): 0.5,
        ("solved", "LatentPlanner", 56): 1.0,
        ("solved", "ppo_100%", 56): 0.5,
        ("solved strictly", "LatentPlanner", 28): 0.5,
        ("solved strictly", "LatentPlanner", 56): 0.5,
        ("solved strictly", "ppo_100%", 56): 0.5,
    }
    solved, strictly = transitions_tables(tables)  # Of the tiles there is one budget, and of PPO.
    assert solved.title == "pocket_cube by transitions: solved, in %" and solved.heads == ("method", "28", "56")
    assert [row[0] for row in solved.rows] == [row[0] for row in strictly.rows] == ["LatentPlanner"]
    assert solved.rows[0][1].startswith("50.0 [") and solved.rows[0][2].startswith("100.0 [")
    assert solved.title in markdown(tables, [], []) and "by transitions" in latex(tables)


def test_panels_are_of_the_budgets_and_methods_that_have_curves(tmp_path, monkeypatch):
    Figure = pytest.importorskip("matplotlib.figure").Figure
    drawn, draws = {}, {}

    def keep(panels, stem, **_):
        drawn[stem.name] = [title for title, _ in panels]
        draws[stem.name] = [draw for _, draw in panels]
        return []

    monkeypatch.setattr(figures, "write_figure", keep)
    add(tmp_path, "cube_jepa", CUBE, 0, "x.")
    add(tmp_path, "tiles_jepa", TILES, 0, "x.")
    write_figures(make_tables(read_comparison([tmp_path], {})), tmp_path)
    both = [f"{domain},\n{name}" for domain in ("pocket_cube", TILES.name) for name in ("solved", "solved strictly")]
    assert drawn["success_by_transitions"] == both
    assert drawn["success_by_nodes"] == ["pocket_cube", TILES.name]
    assert drawn["performance_profiles"] == ["28 transitions"]
    add(tmp_path, "cube_jepa", CUBE, 0, "xx", budget=56)
    write_figures(make_tables(read_comparison([tmp_path], {})), tmp_path)
    assert drawn["success_by_transitions"] == both[:2]
    assert drawn["success_by_nodes"] == ["pocket_cube, 56 transitions", TILES.name]
    assert drawn["performance_profiles"] == ["28 transitions"]
    add(tmp_path, "cube_ppo", CUBE, 0, "x.", **PPO)
    write_figures(make_tables(read_comparison([tmp_path], {})), tmp_path)
    assert drawn["success_by_nodes"] == ["pocket_cube, 28 transitions", TILES.name]
    axis = Figure().subplots()
    draws["success_by_transitions"][0](axis)
    assert axis.get_legend_handles_labels()[1] == ["LatentPlanner"]  # Of PPO there is one budget.


def test_panels_of_samples_are_of_domains_that_have_some(root, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = {}
    monkeypatch.setattr(figures, "write_figure", lambda panels, stem, **_: drawn.update({stem.name: panels}) or [])
    shares = {"pass_at_k_oracle": [0.5, 0.5], "rerank_at_k": [0.5, 0.5], "consensus_at_k": [0.5, 0.5]}
    add_curve(root / "cube_jepa/28/seed0", {0.25: "xx.."}, **shares)
    write_figures([one_table(root)], root)
    assert [title for title, _ in drawn["success_by_samples"]] == ["pocket_cube"]
    assert [title for title, _ in drawn["success_by_nodes"]] == ["pocket_cube", TILES.name]


def test_without_matplotlib_the_report_says_so(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    paths = report_on(root)
    assert [path.name for path in paths] == [*REPORT_FILES]
    assert 'No figures: they need matplotlib; install it with: pip install -e ".[figures]"' in paths[0].read_text()


def test_colours_are_those_of_okabe_and_ito():
    # Okabe and Ito (2008), in RGB from 0 to 255.
    published = {
        (0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
        (204, 121, 167),
    }  # fmt: skip
    assert {tuple(bytes.fromhex(colour[1:])) for colour in COLOURS} == published
