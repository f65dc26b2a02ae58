"""What all fault tests share: a place to work in, compiled programs, and the figures that we publish."""

import os
import signal
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jepa.run_log import provenance, write_json_atomic
from tests.faults.programs import OFTEN, Workplace

FIGURES = pytest.StashKey[dict[str, list]]()
NOTE = (
    "Counts are sums over all tests of `make faults`; seconds were taken beside other tests on the same cores, so "
    "they are upper bounds."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", type=Path, default=None, help="write the figures of the fault tests to this file")


def pytest_configure(config: pytest.Config) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:  # As a shell's background job does; children would do so, too.
            signal.signal(number, signal.SIG_DFL)
    config.stash[FIGURES] = {}


@pytest.fixture
def figure(record_property: Callable[[str, Any], None]) -> Callable[[str, int | list[float]], None]:
    """Adds to a figure: counts are summed up, lists of seconds joined. It travels with the report of the test."""
    return lambda name, value: record_property(f"figure {name}", value)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled programs for all processes of all tests, also where pytest runs in several workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Workplace:
    """A working directory of a module's own; its tests share the runs and the recorded moves in it."""
    return Workplace(folder=tmp_path_factory.mktemp("place"), compiled=compiled)


@pytest.fixture(scope="module")
def config(request: pytest.FixtureRequest, place: Workplace) -> str:
    """A planner's two stages, of `NUM_UPDATES` of the test's module each."""
    return place.config("tiles", num_updates=request.module.NUM_UPDATES)


@pytest.fixture(scope="module")
def unbroken(place: Workplace, config: str) -> Path:
    """The run of the config that nothing disturbs, with a checkpoint behind every call."""
    return place.trained(config, "unbroken", *OFTEN)


class Figures:
    """Collects what tests have counted, in the process that hears of all of them, and writes it down at the end."""

    def __init__(self, config: pytest.Config):
        self._config, self._values = config, config.stash[FIGURES]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            for name, value in report.user_properties:
                if name.startswith("figure "):
                    self._values.setdefault(name.removeprefix("figure "), []).append(value)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        path = self._config.getoption("--figures")
        if path is None or not self._values:
            return
        found = {name: _together(values) for name, values in sorted(self._values.items())}
        head = {"command": f"make faults ARGS='--figures {path}'", "note": NOTE, "provenance": provenance()}
        write_json_atomic(path, head | {"num_failed_tests": session.testsfailed, "figures": found})


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(Figures(session.config), "figures of faults")


def _together(values: list[Any]) -> Any:
    if all(isinstance(value, int) for value in values):
        return sum(values)
    seconds = [second for value in values for second in value]
    return {
        "count": len(seconds),
        "median": round(statistics.median(seconds), 3),
        "max": round(max(seconds), 3),
    }
