"""Seeded damage to files: flipped bits, missing and doubled fields, wrong types, absurd numbers, hostile names."""

import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

CANARY = "canary"
"""A file that must never come to be."""
NASTY = (
    None, True, -1, 0, 2**31, 2**63, 10**30, -0.5, 1e308, float("nan"), float("inf"), "", "x", "\u0000", "é" * 10_000,
    "../../../etc/passwd", "os.system", f"__import__('os').system('touch {CANARY}')", [], [[[]]], {},
    {"class": "os.system", "command": f"touch {CANARY}"},
    {"class": "subprocess.Popen", "args": ["touch", CANARY]},
    {"class": "jepa.config.load_config", "path": "hostile.py"},
    {"class": "jepa.runs.Run", "experiment": None, "params": {}, "training_seconds": 0.0, "num_gradient_samples": 0,
     "num_transitions": 0, "alarms": {}},
    {"class": "jepa.envs.gymnasium_adapter.GymnasiumTable", "env_id": "hostile:Taxi-v4", "arguments": "{}"},
    {"class": "jepa.planners.../os.system"},
    {"class": ["jepa.config.Experiment"]},
)  # fmt: skip


class Bomb:
    """An object whose unpickling would leave a canary."""

    def __reduce__(self):
        return open, (CANARY, "w")


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """Damages a file of any kind."""
    place = rng.randrange(max(1, len(content)))
    flipped = bytearray(content or b"\0")
    flipped[place % len(flipped)] ^= 1 << rng.randrange(8)
    ways = (
        bytes(flipped),
        content[:place],
        content[place:],
        b"",
        content + content,
        content[:place] + rng.randbytes(20) + content[place:],
        b"\xef\xbb\xbf" + content,
        content.decode("latin-1").encode("utf-16"),
        b"\0" * len(content),
    )
    return rng.choice(ways)


def mutated_json(content: bytes, rng: random.Random) -> bytes:
    """Damages a JSON document so that it is still JSON, in most cases."""
    tree = json.loads(content)
    holder, key = rng.choice(list(_places(tree)))
    way = rng.randrange(8)
    if way == 0:
        del holder[key]
    elif way == 1:
        _double(holder, key)
    elif way == 2:
        text = json.dumps(tree)  # A field twice, the second time with another value.
        return text.replace("{", "{" + f'"{key}": {json.dumps(rng.choice(NASTY))}, ', 1).encode()
    elif way == 3:
        holder[key] = "@nested@"
        nested = "[" * 100_000 + "]" * 100_000
        return json.dumps(tree).replace('"@nested@"', nested).encode()
    else:
        holder[key] = rng.choice(NASTY)
    return json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def mutated_npz(content: bytes, rng: random.Random) -> bytes:
    """Damages an archive of arrays so that it is still an archive."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays: dict[str, Any] = {name: archive[name] for name in archive.files}
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    changes: tuple[Callable[[], Any], ...] = (
        lambda: np.array([Bomb()] * max(1, len(array)), dtype=object),
        lambda: array.astype(np.float64) * np.nan,
        lambda: array.astype(np.complex64),
        lambda: array.astype("U8"),
        lambda: array[..., None],
        lambda: array[:0],
        lambda: array.reshape(-1),
        lambda: np.full(array.shape, 2**62, np.int64),
        lambda: np.full(array.shape, -1, np.int64),
        lambda: np.zeros(array.shape, [("a", np.int32)]),
        lambda: np.array(np.datetime64("2000-01-01")),
        lambda: np.roll(array, 1, axis=-1),
    )
    way = rng.randrange(len(changes) + 3)
    if way < len(changes):
        arrays[name] = changes[way]()
    elif way == len(changes):
        del arrays[name]
    buffer = io.BytesIO()
    if way > len(changes):  # A member that lies about its size, or is no array.
        lie = b"\x93NUMPY\x01\x00v\x00" + f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({2**50},), }}".encode()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(f"{name}.npy", lie.ljust(127) + b"\n" if way == len(changes) + 1 else b"text")
        return buffer.getvalue()
    np.savez(buffer, **arrays, allow_pickle=True)
    return buffer.getvalue()


def _places(tree: Any) -> Any:
    """All places of a JSON document, as holder and key."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _places(value)


def _double(holder: Any, key: Any) -> None:
    if isinstance(holder, list):
        holder.insert(key, holder[key])
    else:
        holder[f"{key}_again"] = holder[key]
