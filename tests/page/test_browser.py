"""The page in a browser: it asks for nothing, complains of nothing, shows something, and everybody can use it.

Needs Chromium (on Debian: apt-get install chromium). The checks of accessibility are those of axe-core, which lies in
the package axe-playwright-python (`make test` installs it without Playwright) or where JEPA_AXE points.
"""

import importlib.util
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jepa.config import load_config
from jepa.page import stories
from tests.discovery import skip_without_extra
from tests.page.browser import CHROMIUM, Browser, running
from tests.page.pages import CONFIGS, write_untrained_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (on Debian: apt-get install chromium)")
WIDTHS, SCHEMES = (390, 1280), ("light", "dark")
MEGABYTES_OF_20_PROBLEMS = 3.0
PAINTED = {"light": (251, 250, 247), "dark": (20, 23, 29)}
"""The paper of the page, by day and by night."""


def axe_script() -> str:
    """Returns axe-core's source, from a path or from the package that bundles it; skips the test without it."""
    path, package = os.environ.get("JEPA_AXE"), importlib.util.find_spec("axe_playwright_python")
    if path is None and package is None:
        pytest.skip("needs axe-core: pip install --no-deps axe-playwright-python, or JEPA_AXE=PATH of axe.min.js")
    return (Path(path) if path else Path(package.submodule_search_locations[0]) / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with running(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def tiles(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stories, "SECONDS_FOR_DISTANCES", 0.5)
        config = load_config(next(config for config in CONFIGS if config.stem == "sliding_tiles"))
        write_untrained_page(config, path, num_problems=3)
    return path


def show_every_step(browser: Browser) -> int:
    """Walks through every problem with the buttons; returns how many states were shown."""
    return browser.evaluate(
        """(() => {
          let shown = 0;
          for (const button of document.querySelectorAll("#problems button")) {
            button.click();
            for (let step = 0; step <= Number(document.getElementById("slider").max); step++) {
              if (!document.getElementById("status").textContent.startsWith(`Step ${step} of`)) throw step;
              shown += document.querySelectorAll("#real .shape").length > 0;
              document.getElementById("forward").click();
            }
          }
          return shown;
        })()"""
    )


def assert_quiet(browser: Browser, path: Path) -> None:
    assert [url for url in browser.requests if not url.startswith(path.as_uri())] in ([], ["about:blank"])
    assert browser.complaints == []


def assert_not_blank(png: bytes, width: int, scheme: str) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    assert abs(pixels.shape[1] - width) <= 20 and pixels.shape[0] >= 800
    is_paper = (np.abs(pixels - PAINTED[scheme]) <= 3).all(axis=-1)
    assert 0.2 < is_paper.mean() < 0.95
    # The boards, the charts, the table: something is in every part of the page but its end.
    for part in np.array_split(is_paper[: -len(is_paper) // 8], 6):
        assert not part.all()


def assert_accessible(browser: Browser, axe: str) -> None:
    browser.evaluate(f"{axe}; undefined")
    browser.evaluate("document.querySelector('details').open = true; undefined")
    found = json.loads(browser.evaluate("axe.run(document).then((found) => JSON.stringify(found))"))
    assert len(found["passes"]) > 20  # It has really looked.
    faults = [(fault["id"], node["target"], node["failureSummary"])
              for fault in found["violations"] for node in fault["nodes"]]  # fmt: skip
    assert faults == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_is_quiet_and_shows_something(browser, tiles, width, scheme):
    browser.open(tiles, width=width, scheme=scheme)
    assert show_every_step(browser) == 3 * 41
    assert_not_blank(browser.screenshot(), width, scheme)
    assert not browser.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert_quiet(browser, tiles)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_wrong(browser, tiles, width, scheme):
    axe = axe_script()
    browser.open(tiles, width=width, scheme=scheme)
    assert_accessible(browser, axe)
    browser.evaluate("document.getElementById('forward').click()")
    assert_accessible(browser, axe)


def test_the_checks_of_a_page_can_fail(browser, tiles, tmp_path):
    """A page that asks, complains, shows nothing and names nothing is found out."""
    broken = tmp_path / "broken.html"
    text = tiles.read_text("utf-8").replace('aria-label="Play"', "")
    text = re.sub(r"<meta http-equiv[^>]*>", "", text)
    script = "<script>new Image().src = 'http://127.0.0.1:9/a.png'; console.error('oh'); undefined.x</script>"
    broken.write_text(text.replace("</body>", f"{script}<style>body {{ display: none }}</style></body>"), "utf-8")
    browser.open(broken, width=1280)
    assert any("127.0.0.1" in url for url in browser.requests)
    assert sum("oh" in told or "TypeError" in told for told in browser.complaints) == 2
    with pytest.raises(AssertionError):
        assert_not_blank(browser.screenshot(), 1280, "light")
    browser.open(tiles, width=1280)
    axe = axe_script()
    browser.evaluate("document.getElementById('play').removeAttribute('aria-label')")
    with pytest.raises(AssertionError, match="button-name"):
        assert_accessible(browser, axe)


def test_keys_alone_are_enough_and_a_screen_reader_hears_the_step(browser, tiles):
    browser.open(tiles, width=1280)
    focus = "document.activeElement.id || document.activeElement.textContent"
    status = "document.getElementById('status').textContent"
    browser.press("Tab")
    assert browser.evaluate(focus) == "Skip to the problem"
    browser.press("Enter")
    assert browser.evaluate("document.activeElement.id") == "story"
    browser.press("Tab")
    assert browser.evaluate(focus) == "first"
    for _ in range(3):
        browser.press("Tab")
    assert browser.evaluate(focus) == "forward"
    # A focus that nobody sees is none.
    assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press("Enter")
    assert browser.evaluate(status).startswith("Step 1 of 40, after ")
    browser.press(" ")
    assert browser.evaluate(status).startswith("Step 2 of 40, after ")
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    assert browser.evaluate(status).startswith("Step 0 of 40.")
    browser.press("End")
    assert browser.evaluate(status).startswith("Step 40 of 40")
    heading = browser.evaluate("document.getElementById('heading').textContent")
    browser.press("ArrowDown")
    assert browser.evaluate("document.getElementById('heading').textContent") != heading
    live = "(({ariaLive, role}) => [ariaLive, role])(document.getElementById('status'))"
    assert browser.evaluate(live) == ["polite", "status"]
    said = browser.evaluate("document.querySelector('#real svg').getAttribute('aria-label')")
    # Three rows of three tiles, the blank a dot.
    assert re.fullmatch(r"What happened, step 0: [1-8.] [1-8.] [1-8.]( / [1-8.] [1-8.] [1-8.]){2}", said)
    assert browser.evaluate("document.querySelectorAll('#table tbody tr').length") == 41


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_the_page_of_every_domain(browser, config, tmp_path, monkeypatch):
    """Twenty problems with the longest plans that the planner may find: small, quiet, not blank, accessible."""
    monkeypatch.setattr(stories, "SECONDS_FOR_DISTANCES", 0.5)
    path = tmp_path / "page.html"
    with skip_without_extra():
        write_untrained_page(load_config(config), path, num_problems=20)
    assert path.stat().st_size <= MEGABYTES_OF_20_PROBLEMS * 1e6
    axe = axe_script()
    for width in WIDTHS:
        for scheme in SCHEMES:
            browser.open(path, width=width, scheme=scheme)
            assert_not_blank(browser.screenshot(), width, scheme)
            assert_accessible(browser, axe)
            assert_quiet(browser, path)
    assert show_every_step(browser) >= 20
    assert_quiet(browser, path)
