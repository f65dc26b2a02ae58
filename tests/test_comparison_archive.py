"""Cells kept in one file, and reports of several comparisons put together."""

import json
from pathlib import Path

import pytest

from jepa.comparison import report
from jepa.comparison.archive import ARCHIVE, archive, read_archive
from jepa.comparison.command import ReportCommand, report_comparison
from jepa.comparison.results import read_comparison
from tests.comparison_cells import REPORT_FILES
from tests.test_comparison_report import CUBE, TILES, add, add_unfinished

CURVE = {
    "num_problems": 4,
    "search": [{"scale": 0.25, "mean_nodes_generated": 250.0, "solved": [1, 0, 0, 0]}],
    "samples": {
        "num_samples": 2, "temperature": 0.5, "mean_nodes_per_sample": 5.0, "k": [1, 2],
        "pass_at_k_oracle": [0.25, 0.5], "rerank_at_k": [0.25, 0.25], "consensus_at_k": [0.0, 0.0],
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def without_figures(monkeypatch):
    """They are slow to draw, and tested elsewhere."""
    monkeypatch.setattr(report, "write_figures", lambda tables, folder: [])


@pytest.fixture
def comparison(tmp_path) -> Path:
    """Two configs of one agent on the cube, one with a curve, one on tiles; a cell that waits, one that is damaged."""
    root = tmp_path / "first"
    folder = add(root, "cube_a", CUBE, 0, "xx..", optimal=[2, 2, None, 2], lengths=[2, 3, 9, 9])
    curve = CURVE | {"config": json.loads((folder / "summary.json").read_text())["config"]}
    (folder / "curve.json").write_text(json.dumps(curve))
    add(root, "cube_b", CUBE, 0, "xxx.")
    add(root, "tiles", TILES, 0, "x...")
    add_unfinished(root, "tiles", TILES, 1, status="failed", error="it broke")
    damaged = add(root, "cube_b", CUBE, 1, "xxxx")
    (damaged / "cell.json").write_text("{")
    return root


def report_of(*sources: Path, output: Path) -> dict[str, str]:
    report_comparison([*map(str, sources), "--output-dir", str(output)])
    return {name: (output / name).read_text() for name in REPORT_FILES}


def test_a_report_of_the_archive_is_the_report(comparison, tmp_path):
    report_comparison([str(comparison)])
    first = {name: (comparison / name).read_text() for name in REPORT_FILES}
    assert "it broke" in first["comparison.md"] and "LatentPlanner (cube_a)" in first["comparison.md"]
    assert "More and less search" in first["comparison.md"] and "pass@k" in first["comparison.md"]
    assert report_of(comparison / ARCHIVE, output=tmp_path / "again") == first
    assert report_of(tmp_path / "again", output=tmp_path / "third") == first  # a folder with nothing but the report
    report_comparison([str(tmp_path / "again" / ARCHIVE)])  # written beside it
    assert (tmp_path / "again" / "comparison.md").read_text() == first["comparison.md"]


def test_a_line_is_small_and_says_nothing_of_the_machine(comparison):
    lines = archive(read_comparison([comparison], {})).splitlines()
    assert len(lines) == 5
    assert max(map(len, lines)) < 8_000
    assert str(comparison) not in "".join(lines)


def test_comparisons_are_put_together_and_the_last_finished_cell_counts(comparison, tmp_path):
    second = tmp_path / "second"
    add(second, "tiles", TILES, 0, "xxxx")
    add(second, "tiles", TILES, 1, "xx..")
    add_unfinished(second, "cube_b", CUBE, 0, status="waiting")
    found_report = report_of(comparison, second, output=tmp_path / "both")
    found = {result.name: result for result in read_archive(tmp_path / "both" / ARCHIVE)}
    solved = {name: result.results.solved.sum() for name, result in found.items() if result.results}
    assert solved == {"cube_a/28/seed0": 2, "cube_b/28/seed0": 3, "tiles/28/seed0": 4, "tiles/28/seed1": 2}
    assert found["cube_b/28/seed1"].status == "damaged"
    other_way = report_of(second, comparison, output=tmp_path / "other")
    assert '"solved":"1000"' in other_way[ARCHIVE] and '"solved":"1000"' not in found_report[ARCHIVE]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.pop("seed"), "see seed"),
        (lambda row: row.update(seed="0"), "see seed"),
        (lambda row: row.update(name="cube_a"), "see name"),
        (lambda row: row["results"].pop("solved"), "'solved'"),
        (lambda row: row["results"].update(solved="110"), "problems are missing"),
        (lambda row: row["results"].update(solved="11x0"), "'x'"),
        (lambda row: row["results"]["summary"].update(training_seconds="fast"), "training_seconds is a str"),
        (lambda row: row["results"]["curve"]["samples"].pop("k"), "curve.json is damaged"),
    ],
)
def test_a_damaged_archive_is_refused_with_its_cell(change, message, comparison, tmp_path):
    rows = [json.loads(line) for line in archive(read_comparison([comparison], {})).splitlines()]
    change(rows[0])
    path = tmp_path / ARCHIVE
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=f"{ARCHIVE}, cell 1 is damaged or of another version: .*{message}"):
        read_archive(path)


def test_a_report_of_several_needs_a_folder_of_its_own(comparison, tmp_path):
    second = tmp_path / "second"
    add(second, "tiles", TILES, 1, "xx..")
    with pytest.raises(ValueError, match="a report of 2 comparisons needs --output-dir"):
        ReportCommand(sources=(comparison, second))
    with pytest.raises(ValueError, match="has cells of its own; name it among the comparisons"):
        ReportCommand(sources=(comparison,), output_dir=second)
    with pytest.raises(ValueError, match="such as runs/comparison; came none"):
        ReportCommand(sources=())
    with pytest.raises(ValueError, match="no cell is in"):
        report_comparison([str(tmp_path / "nowhere")])
    report_comparison([str(comparison), str(second), "--output-dir", str(second)])
    assert len(read_archive(second / ARCHIVE)) == 5
