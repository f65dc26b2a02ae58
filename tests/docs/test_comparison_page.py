"""What the pages show is the committed report, and that is the report of the committed cells."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from benchmarks.comparison_page import COPIED, PAGES, refreshed
from jepa.comparison import report
from jepa.comparison.archive import ARCHIVE
from jepa.comparison.command import report_comparison
from tests.comparison_cells import REPORT_FILES

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "comparison"


@pytest.mark.parametrize("name", REPORT_FILES)
def test_committed_report_is_that_of_the_committed_cells(name, remade):
    assert (remade / name).read_text() == (RESULTS / name).read_text()


@pytest.fixture(scope="module")
def remade(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write_figures", lambda tables, folder: [folder / "figure.png"])  # Slow, and no numbers.
        patch.setenv("COLUMNS", "80")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            report_comparison([str(RESULTS / ARCHIVE), "--output-dir", str(folder)])
    (folder / "printed.txt").write_text(printed.getvalue())
    return folder


def test_printed_names_and_numbers_are_whole_in_80_columns(remade):
    lines = (remade / "printed.txt").read_text().split("Written to")[0].splitlines()
    methods = re.findall(r"^\| ([A-Z]\w+(?: \(\w+\))?) \|", (RESULTS / "comparison.md").read_text(), re.MULTILINE)
    assert len(methods) > 10 and max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
    for method in methods:
        assert any(re.match(f" {re.escape(method)} +[-0-9]", line) for line in lines)


@pytest.mark.parametrize("path, least", list(zip(PAGES, (1, 5), strict=True)), ids=str)
def test_tables_of_the_pages_are_those_of_the_report(path, least):
    page = (ROOT / path).read_text()
    assert len(COPIED.findall(page)) == page.count("<!-- from ") >= least
    assert refreshed(page, lambda name: (RESULTS / name).read_text()) == page


def test_tables_are_copied_whole_or_by_their_rows():
    table, row = (
        "| a | b | c | d |\n| - | - | - | - |\n| 1 | 2 | 3 | new |\n| 4 | 5 | 6 | 7 |\n",
        "| 1 | 2 | 3 | old |\n",
    )
    report = {"comparison.md": f"# Report\n\n## One, in %\n\n{table}\nText\n"}.__getitem__
    page = "Before\n\n<!-- from comparison.md: One, in %{} -->\n\n{}\nAfter\n"
    assert refreshed(page.format("", row), report) == page.format("", table)
    head = "| a | b | c | D |\n"
    expected = "| a | b | c | d |\n| 1 | 2 | 3 | new |\n"
    assert refreshed(page.format("; some rows", head + row), report) == page.format("; some rows", expected)
    method = "| 1 | has | changed | all over |\n"
    assert refreshed(page.format("; some methods", head + method), report) == page.format("; some methods", expected)
    with pytest.raises(ValueError, match="'Two', which is not in"):
        refreshed(page.format("", row).replace("One, in %", "Two"), report)
