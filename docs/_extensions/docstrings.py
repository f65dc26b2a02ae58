"""The API pages: a section for each module of a folder, made from its docstrings.

A page of docs/api/ names modules in a comment, `<!-- modules: jepa.envs.* -->`, that is replaced by their sections, so
that a new module of a folder is there by itself. Docstrings of this project are plain text with a little Markdown;
what would mean something else in reStructuredText is escaped.
"""

import importlib
import inspect
import itertools
import pkgutil
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from repository_pages import ROOT, page_name
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_COMMENT = re.compile(r"<!-- modules: (.*?) -->", re.DOTALL)
_CODE = re.compile(r"(`[^`]+`)")
_HEADING = re.compile(r"(Args|Returns|Raises|Yields|Source):$")
_VARIABLES = ("attribute", "data", "property")
_COLON = "\ue000"
"""Stands for a colon while napoleon would take the words before it for the type of a variable."""
_ITEM = re.compile(r"\s*(-|\d+\.) ")


def expand_modules(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replaces the comment of an API page by a section for each module that it names."""
    source[0] = _COMMENT.sub(lambda found: "\n".join(map(_section, _modules(found[1].split()))), source[0])


def _modules(patterns: list[str]) -> list[str]:
    """Returns the names of modules; `a.b.*` stands for those of a package that have something public."""
    names = []
    for pattern in patterns:
        if pattern.endswith(".*"):
            package = importlib.import_module(pattern.removesuffix(".*"))
            found = sorted(module.name for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."))
            base = [name for name in found if name.endswith(".base")]
            names += base + [name for name in found if name not in base]
        else:
            names.append(pattern)
    return names


def _section(name: str) -> str:
    return f"\n## {name.removeprefix('jepa.')}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n"


def to_restructured_text(app: Sphinx, kind: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escapes what a docstring does not mean, and sets its indented formulas apart; changes `lines`."""
    marked: list[tuple[bool, str]] = []
    in_section = in_block = False
    for number, line in enumerate(lines):
        indented, before = line.startswith("  "), lines[number - 1] if number else ""
        if line and not indented:
            in_section, in_block = bool(_HEADING.match(line)), False
        if indented and not before and not in_section and not in_block and not _ITEM.match(line):
            in_block = True
            marked += [(True, "::"), (True, "")]
        marked.append((in_block, line))
    converted: list[str] = []
    for is_block, group in itertools.groupby(marked, key=lambda item: item[0]):
        text = "\n".join(line for _, line in group)
        converted += (text if is_block else _escaped(text)).split("\n")
    lines[:] = [line.replace(":", _COLON) for line in converted] if kind in _VARIABLES else converted


def restore_colons(app: Sphinx, kind: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Puts back the colons of variables, behind napoleon; changes `lines`."""
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _escaped(text: str) -> str:
    parts = _CODE.split(text)
    return "".join(f"`{part}`" if number % 2 else _escaped_text(part) for number, part in enumerate(parts))


def _escaped_text(text: str) -> str:
    return re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", text)


class ShorterSignatures(SphinxTransform):
    """Shows names of other packages without their module and without a link, for they have no page here."""

    default_priority = 960

    def apply(self, **kwargs: Any) -> None:
        """See base class."""
        for node in list(self.document.findall(addnodes.pending_xref)):
            if node["refdomain"] == "py" and not node["reftarget"].startswith("jepa."):
                node.replace_self(nodes.Text(node["reftarget"].rpartition(".")[2]))
        for node in list(self.document.findall(nodes.paragraph)):
            if node.astext() == "Bases: object":
                node.parent.remove(node)


def skip_repetition(app: Sphinx, kind: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leaves out methods that only implement what their base class describes, and constructors of dataclasses."""
    is_generated = getattr(getattr(obj, "__code__", None), "co_filename", "") == "<string>"
    return True if is_generated or getattr(obj, "__doc__", None) == "See base class." else None


def source_link(domain: str, info: dict[str, str]) -> str | None:
    """Returns the place of an object on the page of its file, seen from a page of docs/api/."""
    if domain != "py" or not info["module"]:
        return None
    found: Any = importlib.import_module(info["module"])
    try:
        for part in info["fullname"].split("."):
            found = inspect.unwrap(getattr(found, part))
        found = found.fget if isinstance(found, property) else found
        path, line = Path(inspect.getsourcefile(found) or ""), inspect.getsourcelines(found)[1]
    except (AttributeError, TypeError, OSError):
        return None
    return f"../{page_name(path)}.html#L-{line}" if path.is_relative_to(ROOT) else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.add_transform(ShorterSignatures)
    app.connect("source-read", expand_modules)
    app.connect("autodoc-process-docstring", to_restructured_text, priority=400)
    app.connect("autodoc-process-docstring", restore_colons, priority=600)
    app.connect("autodoc-skip-member", skip_repetition)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
