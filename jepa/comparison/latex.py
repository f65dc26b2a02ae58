"""The tables of a report for a paper."""

from collections.abc import Sequence

from jepa.comparison.rows import (
    TextTable,
    bounds_table,
    costs_table,
    details_table,
    strict_table,
    success_table,
    transitions_tables,
)
from jepa.comparison.tables import Table

CAPTIONS = {
    "Solved, in %": "Solved test problems in %, with 95 % intervals over seeds and problems",
    "Solved strictly, in %": "Test problems that are solved by a plan of the fewest moves, in %, with 95 % intervals",
    "Details": "Plans",
    "Floors and ceilings": "Floors and ceilings",
    "Costs": "What learning and plans cost",
}
"""What stands below a table, by its title."""


def latex(tables: Sequence[Table]) -> str:
    r"""Returns the tables for `\usepackage{booktabs}`, ready for `\input`."""
    parts = ["% Made by `python eval.py report`; needs \\usepackage{booktabs}."]
    for table in tables:
        # Bold is applied to numbers alone, which need no escapes, so that everything can be escaped afterwards.
        texts = [success_table(table, "<b>{}</b>")]
        texts += [make(table) for make in (strict_table, details_table, bounds_table, costs_table)]
        parts += [_latex_table(text, f"{CAPTIONS[text.title]}; {table.title}.") for text in texts if text.rows]
    parts += [_latex_table(text, f"{text.title}.") for text in transitions_tables(tables)]
    return "\n\n".join(parts) + "\n"


def _latex_table(text: TextTable, caption: str) -> str:
    lines = [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in (text.heads, *text.rows)]
    alignment = "l" * text.num_labels + "r" * (len(text.heads) - text.num_labels)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(caption)}}}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_cell(text: str) -> str:
    return escape_latex(text).replace("<b>", r"\textbf{").replace("</b>", "}")


def escape_latex(text: str) -> str:
    r"""Returns text that LaTeX prints as it is, such as `100\,\% of sliding\_tiles`."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in text)
