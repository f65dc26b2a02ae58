"""Links from the Markdown files to files of the repository lead to pages of the site that show these files.

Each file is a page `source/<path>`, each folder a listing `source/<path>/index`. A link to what has no page stops the
build, as every warning does.
"""

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

ROOT = Path(__file__).parents[2]
FOLDERS = ("benchmarks", "configs", "data", "jepa", "tests/agents")
FILES = ("CITATION.cff", "LICENSE", "Makefile", "constraints.txt", "eval.py", "pyproject.toml", "train.py")
LANGUAGES = {".py": "python", ".json": "json", ".toml": "toml", ".cff": "yaml", ".md": "markdown", ".css": "css"}
LANGUAGES |= {".js": "javascript", ".html": "html"}
HIDDEN = {"__pycache__", "recorded", "weights"}
"""Folders without pages: caches, recorded moves and arrays."""

_NAVIGATION: dict[int, str] = {}
_LOG = logging.getLogger(__name__)


def has_page(path: Path) -> bool:
    """Returns whether a file or folder of the repository has a page."""
    parts = path.relative_to(ROOT).parts
    if not parts or HIDDEN & set(parts) or any(part.startswith(".") for part in parts):
        return False
    if len(parts) == 1 and path.is_file():
        return path.name in FILES
    return any(path.is_relative_to(ROOT / folder) for folder in FOLDERS)


def page_name(path: Path) -> str:
    """Returns the name of the page of a file or folder, without `.html`."""
    name = f"source/{path.relative_to(ROOT).as_posix()}"
    return f"{name}/index" if path.is_dir() else name


class RepositoryLinks(SphinxTransform):
    """Points relative links that leave docs/ to the pages of what they name."""

    default_priority = 950

    def apply(self, **kwargs: Any) -> None:
        """See base class."""
        for node in list(self.document.findall(addnodes.pending_xref)):
            self._resolve(node)
        for node in list(self.document.findall(addnodes.download_reference)):
            self._resolve(node)

    def _resolve(self, node: nodes.Element) -> None:
        target = node["reftarget"]
        if node.get("reftype") != "myst" or target in self.env.found_docs:
            return
        path = self._path(target)
        if path == ROOT / "README.md":
            self._replace(node, "index")
        elif path is not None and has_page(path):
            self._replace(node, page_name(path))
        elif isinstance(node, addnodes.download_reference):
            _LOG.warning("a link leads to what has no page: %s", target, location=node, type="repository")

    def _path(self, target: str) -> Path | None:
        """Returns what a link names: seen from the page, or from the root where README.md is included."""
        page_folder = Path(self.env.doc2path(self.env.docname)).parent
        for folder in (page_folder, ROOT):
            for name in (target, f"{target}.md"):  # A Markdown file that is no page comes without its ending.
                path = (folder / name).resolve()
                if path.exists() and path.is_relative_to(ROOT):
                    return path
        return None

    def _replace(self, node: nodes.Element, page: str) -> None:
        uri = self.app.builder.get_relative_uri(self.env.docname, page)
        if anchor := node.get("reftargetid"):
            uri += f"#{anchor}"
        node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=True))


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yields the pages of all files and folders."""
    folders = [ROOT / name for name in FOLDERS]
    for path in [*folders, *(ROOT / name for name in FILES)]:
        yield from _pages_below(app, path)


def _pages_below(app: Sphinx, path: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    if path.is_dir():
        entries = sorted((entry for entry in path.iterdir() if has_page(entry)), key=lambda entry: entry.is_file())
        entries = [entry for entry in entries if entry.is_dir() or _text(entry) is not None]
        yield _page(app, path, _listing(app, path, entries))
        for entry in entries:
            yield from _pages_below(app, entry)
    elif (text := _text(path)) is not None:
        language = LANGUAGES.get(path.suffix, "makefile" if path.name == "Makefile" else "text")
        highlighted = app.builder.highlighter.highlight_block(
            text, language, force=True, linenos="inline", lineanchors="L"
        )
        yield _page(app, path, highlighted)


def _text(path: Path) -> str | None:
    """Returns the text of a file; None for what is no text."""
    content = path.read_bytes()
    return None if b"\0" in content else content.decode("utf-8")


def _page(app: Sphinx, path: Path, body: str) -> tuple[str, dict[str, Any], str]:
    above = [folder for folder in reversed(path.parents) if folder.is_relative_to(ROOT) and folder != ROOT]
    links = [_link(app, path, folder, folder.name) if has_page(folder) else folder.name for folder in above]
    crumbs = " / ".join([*links, html.escape(path.name)])
    title = path.relative_to(ROOT).as_posix()
    content = f'<p class="source-path">{crumbs}</p>\n<h1>{html.escape(path.name)}</h1>\n{body}'
    return page_name(path), {"title": title, "body": content, "parents": []}, "page.html"


def _listing(app: Sphinx, folder: Path, entries: list[Path]) -> str:
    items = [_link(app, folder, entry, f"{entry.name}/" if entry.is_dir() else entry.name) for entry in entries]
    return "<ul>" + "".join(f"<li>{item}</li>\n" for item in items) + "</ul>"


def _link(app: Sphinx, origin: Path, target: Path, text: str) -> str:
    uri = app.builder.get_relative_uri(page_name(origin), page_name(target))
    return f'<a class="reference internal" href="{html.escape(uri)}">{html.escape(text)}</a>'


def share_navigation(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Lets all source pages of one depth share their navigation, which takes longer to make than the page itself."""
    if not page.startswith("source/"):
        return
    toctree, depth = context["toctree"], page.count("/")

    def shared(**options: Any) -> str:
        if depth not in _NAVIGATION:
            _NAVIGATION[depth] = toctree(**options)
        return _NAVIGATION[depth]

    context["toctree"] = shared


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.add_transform(RepositoryLinks)
    app.connect("html-collect-pages", source_pages)
    app.connect("html-page-context", share_navigation, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
