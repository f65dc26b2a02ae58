"""Copies the tables of the committed reports into the pages about them: `python -m benchmarks.comparison_page`.

In README.md and docs/comparison.md a table stands below a comment that names a report of benchmarks/results/comparison
and a section,

    <!-- from comparison.md: Solved, in %: 100,000 transitions -->

and is replaced by the first table of that section; where the comment ends in `; some methods` or `; some rows`, by
those of its rows that stand there already, told by their first cell or their first three. Run it after
`python eval.py report`, or what makes the others.
"""

import re
from collections.abc import Callable
from pathlib import Path

RESULTS = Path("benchmarks/results/comparison")
PAGES = (Path("README.md"), Path("docs/comparison.md"))
COPIED = re.compile(r"(<!-- from (\w+\.md): (.+?)(; some rows|; some methods)? -->\n\n)((?:\|.*\n)+)")
CELLS_THAT_TELL = {"; some methods": 1, "; some rows": 3}


def refreshed(page: str, report: Callable[[str], str]) -> str:
    """Returns the page with its tables as they are in the reports.

    Args:
      page: the page.
      report: file name of a report to its text.

    Raises:
      ValueError: the page names a section that the report does not have.
    """

    def replace(match: re.Match) -> str:
        comment, name, section, some, old = match.groups()
        found = re.search(rf"^## {re.escape(section)}\n\n((?:\|.*\n)+)", report(name), re.MULTILINE)
        if found is None:
            raise ValueError(f"a page names the section {section!r}, which is not in {RESULTS / name}")
        if not some:
            return comment + found[1]
        count = CELLS_THAT_TELL[some]
        there = {_key(line, count) for line in old.splitlines()}
        return comment + "".join(line + "\n" for line in found[1].splitlines() if _key(line, count) in there)

    return COPIED.sub(replace, page)


def _key(line: str, count: int) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.split("|")[1 : count + 1])


def committed_report(name: str) -> str:
    """Returns the text of a committed report."""
    return (RESULTS / name).read_text("utf-8")


def main() -> None:
    """Rewrites the pages."""
    for page in PAGES:
        before = page.read_text("utf-8")
        after = refreshed(before, committed_report)
        page.write_text(after, "utf-8")
        changed = len(set(after.splitlines()) - set(before.splitlines()))
        print(f"{page}: {len(COPIED.findall(after))} tables copied from {RESULTS}, {changed} lines are new")


if __name__ == "__main__":
    main()
