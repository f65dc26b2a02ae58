"""Copies the tables of the committed report into the page about it: `python -m benchmarks.comparison_page`.

In docs/comparison.md a table stands below a comment that names a section of the report,

    <!-- from comparison.md: Solved, in %: 100,000 transitions -->

and is replaced by the first table of that section; where the comment ends in `; some rows`, by those of its rows that
stand there already (told by their first three cells). Run it after `python eval.py report`.
"""

import re
from pathlib import Path

REPORT = Path("benchmarks/results/comparison/comparison.md")
PAGE = Path("docs/comparison.md")
COPIED = re.compile(r"(<!-- from comparison\.md: (.+?)(; some rows)? -->\n\n)((?:\|.*\n)+)")


def refreshed(page: str, report: str) -> str:
    """Returns the page with its tables as they are in the report.

    Raises:
      ValueError: the page names a section that the report does not have.
    """

    def replace(match: re.Match) -> str:
        comment, section, some_rows, old = match.groups()
        found = re.search(rf"^## {re.escape(section)}\n\n((?:\|.*\n)+)", report, re.MULTILINE)
        if found is None:
            raise ValueError(f"{PAGE} names the section {section!r}, which is not in {REPORT}")
        if not some_rows:
            return comment + found[1]
        there = {_key(line) for line in old.splitlines()}
        return comment + "".join(line + "\n" for line in found[1].splitlines() if _key(line) in there)

    return COPIED.sub(replace, page)


def _key(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.split("|")[1:4])


def main() -> None:
    """Rewrites the page."""
    before = PAGE.read_text("utf-8")
    after = refreshed(before, REPORT.read_text("utf-8"))
    PAGE.write_text(after, "utf-8")
    changed = len(set(after.splitlines()) - set(before.splitlines()))
    print(f"{PAGE}: {len(COPIED.findall(after))} tables copied from {REPORT}, {changed} lines are new")


if __name__ == "__main__":
    main()
