"""All cells of one or several comparisons, finished or not, each with the names that tables know it by."""

import dataclasses
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from jepa.comparison.archive import ARCHIVE, UNKNOWN, Result, read_archive
from jepa.comparison.cells import cell_name
from jepa.comparison.folders import DAMAGED, FINISHED, Entry, Results, read_entry, read_results

OTHER_PROBLEMS = "other problems"
"""Status of a finished cell that was graded on other problems than most of its domain."""


def read_comparison(sources: Sequence[Path], refused: Mapping[str, tuple[str, str]]) -> list[Result]:
    """Reads all cells of comparisons; of a cell that several have, the last one that is finished.

    Args:
      sources: Output folders of comparisons, or archives of such: a file, or a folder that has nothing but it.
      refused: By name of a cell, status and reason where more is known than its files tell.

    Raises:
      ValueError: there is no cell, or an archive is damaged.
    """
    cells: dict[str, Result] = {}
    for source in sources:
        for result in _read_source(source, refused):
            if result.results is not None or result.name not in cells or cells[result.name].results is None:
                cells[result.name] = result
    return _require_same_problems(_with_names(sorted(cells.values(), key=_order)))


def cell_folders(folder: Path) -> list[Path]:
    """Returns the folders of all cells of a comparison."""
    return [path for path in folder.glob("*/[0-9]*/seed[0-9]*") if path.is_dir()]


def _read_source(source: Path, refused: Mapping[str, tuple[str, str]]) -> list[Result]:
    if source.is_file():
        return read_archive(source)
    if folders := cell_folders(source):
        return [_read(path, refused) for path in folders]
    if (source / ARCHIVE).exists():
        return read_archive(source / ARCHIVE)
    raise ValueError(f"expected the folder of a comparison, but no cell is in {source}; see `eval.py compare`")


def _order(result: Result) -> tuple[str, int, int]:
    return result.config, result.num_transitions, result.seed


def _read(folder: Path, refused: Mapping[str, tuple[str, str]]) -> Result:
    name, entry, results = cell_name(folder), None, None
    try:
        entry = read_entry(folder)
        status, reason = refused.get(name, (entry.status, entry.error))
        results = read_results(folder, entry) if status == FINISHED else None
    except ValueError as error:
        status, reason = DAMAGED, str(error)
    return Result(
        name=name,
        method=_name("method", entry, results),
        domain=_name("domain", entry, results),
        num_transitions=int(folder.parent.name),
        seed=int(folder.name.removeprefix("seed")),
        status=status,
        reason=reason,
        jobs=entry.jobs if entry else 0,
        results=results,
    )


def _name(field: str, entry: Entry | None, results: Results | None) -> str:
    """Returns what a summary says of its method or domain, or what the config says."""
    if results is not None and field in results.summary:
        return str(results.summary[field])
    return getattr(entry, field) if entry else UNKNOWN


def _with_names(results: Sequence[Result]) -> list[Result]:
    """Gives all cells of a config the names of its finished cells; where configs would share a row they get their own.

    Then the rows of that method have the names of its configs on all domains, so that they go on from one to the next.
    """
    names = {}
    for result in sorted(results, key=lambda result: (result.results is not None, result.method != UNKNOWN)):
        names[result.config] = (result.method, result.domain)
    configs = defaultdict(set)
    for result in results:
        configs[(*names[result.config], result.num_transitions)].add(result.config)
    several = {method for (method, _, _), group in configs.items() if len(group) > 1} | {UNKNOWN}
    named = []
    for result in results:
        method, domain = names[result.config]
        if method in several:
            method = f"{method} ({_without_domain(result.config, domain)})"
        named.append(dataclasses.replace(result, method=method, domain=domain))
    return named


def _without_domain(config: str, domain: str) -> str:
    """Returns the name of a config without the words that it shares with the domain, so that rows go on over domains.

    Of `sliding_tiles_alpha_zero` on `sliding_tiles_3x3` there remains `alpha_zero`.
    """
    words = config.split("_")
    shared = len(os.path.commonprefix([words[:-1], domain.split("_")]))
    return "_".join(words[shared:])


def _require_same_problems(results: Sequence[Result]) -> list[Result]:
    """Leaves out cells that were graded on other problems than most of their domain, and says so."""
    digests = defaultdict(Counter)
    for result in results:
        if result.results is not None:
            digests[result.domain][result.results.problems_sha256] += 1
    reason = "its test problems are not those of most cells of its domain; run them with the same --num-problems"
    checked = []
    for result in results:
        if result.results is not None:
            ((usual, _),) = digests[result.domain].most_common(1)
            if result.results.problems_sha256 != usual:
                result = dataclasses.replace(result, status=OTHER_PROBLEMS, reason=reason, results=None)
        checked.append(result)
    return checked
