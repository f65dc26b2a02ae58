"""The documentation site builds without a warning, and everything that its pages name is on the site."""

import html.parser
import os
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="the documentation site needs `pip install -e '.[docs]'`")
pytest.importorskip("myst_parser", reason="the documentation site needs `pip install -e '.[docs]'`")
pytest.importorskip("furo", reason="the documentation site needs `pip install -e '.[docs]'`")

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "sphinx", "--quiet", "--nitpicky", "--fail-on-warning", "--keep-going")
# What a browser fetches by itself; a link (`a`) is only followed by the reader.
ASSETS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}


class Page(html.parser.HTMLParser):
    """The names of a page: what it can be entered at, what it links to, what it loads."""

    def __init__(self, path: Path):
        super().__init__()
        self.anchors, self.links, self.assets = set(), set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        values = dict(attrs)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.links.add(values["href"])
        if values.get(ASSETS.get(tag, "")) and values.get("rel") not in ("canonical",):
            self.assets.add(values[ASSETS[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    ours = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [*COMMAND, "--doctree-dir", folder / "doctrees", ROOT / "docs", folder / "html"]
    built = subprocess.run(command, env=ours, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def missing(site: Path, pages: dict[Path, Page], origin: Path, link: str) -> str:
    """Says what a link names and the site does not have; empty if it has it."""
    parts = urllib.parse.urlsplit(link)
    if parts.scheme == "https":
        return ""
    if parts.scheme or parts.netloc or parts.path.startswith("/"):
        return f"{link} leaves the site"
    path = (origin.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else origin
    if not path.is_relative_to(site.resolve()) or not path.is_file():
        return f"{link} is not there"
    fragment = urllib.parse.unquote(parts.fragment)
    return f"{link} has no such anchor" if fragment and path in pages and fragment not in pages[path].anchors else ""


@pytest.mark.slow
def test_every_link_leads_to_something(site, pages):
    wrong = [
        f"{origin.relative_to(site)}: {reason}"
        for origin, page in pages.items()
        for link in sorted(page.links | page.assets)
        if (reason := missing(site, pages, origin, link))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_nothing_is_loaded_from_another_host(site, pages):
    loaded = {asset for page in pages.values() for asset in page.assets}
    assert loaded and not [asset for asset in loaded if urllib.parse.urlsplit(asset).netloc]
    sheets = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert sheets and not [sheet for sheet in sheets if "url(http" in sheet or "url(//" in sheet or "@import" in sheet]


@pytest.mark.slow
def test_the_pages_are_there(site, pages):
    names = {path.stem for path in (ROOT / "docs").glob("*.md")}
    names |= {f"api/{path.stem}" for path in (ROOT / "docs" / "api").glob("*.md")}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "jepa").rglob("*.py")}
    found = {path.relative_to(site).with_suffix("").as_posix() for path in pages}
    assert names | {f"source/{module}" for module in modules} <= found
    assert "prove-or-refute" in pages[site / "domains.html"].anchors


@pytest.mark.slow
def test_every_module_of_a_folder_has_its_section(pages, site):
    for folder in ("envs", "encoders", "predictors", "objectives", "costs", "actors", "planners", "agents"):
        anchors = pages[site / "api" / f"{folder}.html"].anchors
        modules = {f"jepa.{folder}.{path.stem}" for path in (ROOT / "jepa" / folder).glob("[!_]*.py")}
        assert {f"module-{module}" for module in modules} <= anchors


def test_a_link_that_leads_nowhere_is_noticed(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#there">b</a><a href="#no">no</a><img src="//elsewhere/x.png">')
    (tmp_path / "b.html").write_text('<p id="there"></p>')
    found = {path: Page(path) for path in tmp_path.glob("*.html")}
    reasons = {link: missing(tmp_path, found, tmp_path / "a.html", link) for link in ("b.html#there", "#no", "c.html")}
    assert reasons == {"b.html#there": "", "#no": "#no has no such anchor", "c.html": "c.html is not there"}
    assert "leaves" in missing(tmp_path, found, tmp_path / "a.html", "//elsewhere/x.png")
    assert found[tmp_path / "a.html"].assets == {"//elsewhere/x.png"}
