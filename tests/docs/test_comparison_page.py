"""What docs/comparison.md shows is the committed report, and that is the report of the committed cells."""

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
        report_comparison([str(RESULTS / ARCHIVE), "--output-dir", str(folder)])
    return folder


def test_tables_of_the_page_are_those_of_the_report():
    lines = set((RESULTS / "comparison.md").read_text().splitlines())
    copied = re.findall(r"<!-- from comparison.md -->\n\n((?:\|.*\n)+)", PAGE)
    assert copied
    for table in copied:
        assert [line for line in table.splitlines() if line not in lines] == []
