"""What makes small comparisons quick, where most time goes into compiling programs that hardly compute."""

import mmap
from collections.abc import Mapping
from pathlib import Path

import jaxlib

QUICK_FLAG = "--xla_cpu_use_fusion_emitters=false"
"""Compiles for the CPU in half the time, by the older way to generate code for fused operations; results differ by
rounding. jaxlib 0.10 has both ways, 0.12 has the newer one alone."""


def shared_compilation(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Returns environment variables that let jobs use what others have compiled; a place that the user has is kept.

    Args:
        folder: Where compiled programs are kept.
        environment: What is set already.
    """
    place = {"JAX_COMPILATION_CACHE_DIR": str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3"}
    return {} if "JAX_COMPILATION_CACHE_DIR" in environment else place


def quick_compilation(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns environment variables with which XLA compiles quickly, if it knows how; what the user has set is kept.

    Args:
        environment: What is set already.
    """
    flags, name = environment.get("XLA_FLAGS", ""), QUICK_FLAG.split("=")[0].removeprefix("--")
    if name in flags or not _has_flag(name):
        return {}
    return {"XLA_FLAGS": f"{flags} {QUICK_FLAG}".strip()}


def _has_flag(name: str) -> bool:
    """Returns whether the XLA that is installed has a flag; one that it does not know would end every process."""
    library = Path(jaxlib.__file__).parent / "libjax_common.so"
    if not library.is_file():
        return False
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(name.encode() + b"\0") >= 0
