"""What docs/comparison.md shows is the committed report, and that is the report of the committed cells."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from jepa.comparison import report
from jepa.comparison.archive import ARCHIVE
from jepa.comparison.command import report_comparison
from tests.comparison_cells import REPORT_FILES

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "comparison"
PAGE = (ROOT / "docs" / "comparison.md").read_text()


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


def test_tables_of_the_page_are_those_of_the_report():
    lines = set((RESULTS / "comparison.md").read_text().splitlines())
    copied = re.findall(r"<!-- from comparison.md -->\n\n((?:\|.*\n)+)", PAGE)
    assert copied
    for table in copied:
        assert [line for line in table.splitlines() if line not in lines] == []
