"""How processes find each other, and what they exchange; with true ones in tests/faults/test_several.py."""

import faulthandler

import numpy as np
import pytest

from jepa import processes
from jepa.processes import (
    WATCHDOG_SECONDS,
    Processes,
    Watchdog,
    ending_together,
    exchange,
    exchange_numbers,
    is_alone,
    is_first,
    join,
    on_first,
    require_same,
    with_environment,
)

ADDRESS = "10.0.0.1:1234"
SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Processes()),
        ({"SLURM_NTASKS": "4"}, Processes()),  # A batch script, which is no step of several tasks.
        (SLURM, Processes(coordinator="auto")),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, Processes()),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, Processes(coordinator="auto")),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, Processes(coordinator="auto")),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, Processes()),
        (
            {"JAX_COORDINATOR_ADDRESS": ADDRESS, "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "0"},
            Processes(coordinator=ADDRESS, num_processes=4, process_id=0),
        ),
        (
            {"JAX_COORDINATOR_ADDRESS": ADDRESS, "JAX_NUM_PROCESSES": "4", "JOB_COMPLETION_INDEX": "3"},
            Processes(coordinator=ADDRESS, num_processes=4, process_id=3),
        ),
    ],
)
def test_the_environment_says_whether_there_are_others(environment, expected):
    assert with_environment(Processes(), environment) == expected


def test_flags_come_before_the_environment():
    asked = Processes(coordinator=ADDRESS, num_processes=2, process_id=1)
    assert with_environment(asked, SLURM) == asked
    assert with_environment(Processes(watchdog_seconds=5.0), SLURM).watchdog_seconds == 5.0


@pytest.mark.parametrize("environment", [{}, {"JAX_NUM_PROCESSES": "two", "JAX_PROCESS_ID": "0"}])
def test_half_an_environment_is_refused(environment):
    with pytest.raises(ValueError, match="JAX_NUM_PROCESSES and JAX_PROCESS_ID .* must be numbers; came num_processes"):
        with_environment(Processes(), {"JAX_COORDINATOR_ADDRESS": ADDRESS} | environment)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_processes": 2}, "need --coordinator"),
        ({"process_id": 0}, "need --coordinator"),
        ({"coordinator": "here"}, "must be host:port or auto, came here"),
        ({"coordinator": ":1234"}, "must be host:port"),
        ({"coordinator": ADDRESS}, "needs --num-processes and --process-id"),
        ({"coordinator": ADDRESS, "num_processes": 2, "process_id": 2}, "from 0 to 1, as --num-processes is 2; came 2"),
        ({"coordinator": ADDRESS, "num_processes": 2, "process_id": -1}, "came -1"),
        ({"watchdog_seconds": float("nan")}, "at least 0, came nan"),
    ],
)
def test_processes_that_cannot_be_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Processes(**fields)


def test_alone_everything_is_one_s_own_matter():
    join(Processes())
    assert is_alone() and is_first()
    assert exchange("word") == ["word"]
    np.testing.assert_array_equal(exchange_numbers(3, 4), [[3, 4]])
    assert on_first(lambda: 5) == 5
    require_same("experiment", "text")
    with pytest.raises(KeyError), ending_together():
        raise KeyError


def test_others_must_be_given_the_same(monkeypatch):
    monkeypatch.setattr(processes, "exchange", lambda text: ["seed: 0, width: 8", "seed: 0, width: 8", "seed: 1"])
    with pytest.raises(ValueError, match=r"(?s)that of process 2 differs from that of process 0:.*seed: 0.*seed: 1"):
        require_same("experiment", "seed: 0, width: 8")


@pytest.mark.parametrize(("alone", "seconds", "expected"), [(True, None, 0.0), (False, None, WATCHDOG_SECONDS)])
def test_several_processes_are_watched_unless_told_otherwise(monkeypatch, alone, seconds, expected):
    armed = []
    monkeypatch.setattr(processes, "is_alone", lambda: alone)
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda seconds, **options: armed.append(seconds))
    with Watchdog(seconds) as watchdog:
        watchdog.hear()
    with Watchdog(0.0), Watchdog(7.0):
        pass
    assert armed == [expected, expected, 7.0] if expected else armed == [7.0]
