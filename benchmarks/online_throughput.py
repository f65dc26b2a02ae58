"""Measures moves per second of online baselines beside rejax's: `python -m benchmarks.online_throughput`.

PPO, DQN and PQN, ours and rejax's, on the same domain wrapped as an environment of gymnax, with the same networks and
the same numbers of environments, moves of a round, samples and gradient steps (`online_sizes.py`). One process times
their calls in turn, so that whatever else the machine does hits all of them; the medians count, and the ratios of calls
that ran one after the other. A call is one compiled function that plays and learns for thousands of moves. Each is
called twice before it is timed, and nothing is compiled after that, which is checked.

rejax plays twice: with problems made as ours, by a walk with every move (gymnax draws a new episode with every move and
throws most away), and with problems drawn from a table that was made before.

    pip install -e ".[throughput]"
"""

import dataclasses
import importlib.metadata
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro

from benchmarks.online_sizes import NormalisedRelu, PlainMLP, Sizes, Swish
from jepa.agents.online import OnlineLearner
from jepa.agents.ppo import PPO
from jepa.agents.pqn import PQN
from jepa.agents.q_learning_online import OnlineQLearning
from jepa.envs.base import Env
from jepa.envs.lights_out import LightsOut
from jepa.mesh import data_mesh, replicate
from jepa.run_log import provenance, write_json_atomic
from jepa.training import Schedule

COMMAND = "python -m benchmarks.online_throughput"
NUM_POOLED = 65_536
"""Problems of the table."""
OTHER_PACKAGES = ("rejax", "gymnax", "distrax")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One of those that are compared."""

    run: Callable[[], None]
    """Makes the moves of one call and learns from them."""
    num_compilations: Callable[[], int]
    """How often it was compiled so far."""
    num_parameters: int
    """Of all its networks, without those of targets."""


def main(
    output: Path = Path("benchmarks/results/online_throughput.json"),
    repeats: int = 15,
    num_cores: int = 1,
    width: int = 64,
    methods: tuple[str, ...] = ("PPO", "DQN", "PQN"),
) -> None:
    """Runs the comparison and writes it.

    Args:
      output: JSON file to write.
      repeats: timed calls of each side; the medians count.
      num_cores: cores that the process may use; on a machine that does other things two wait for each other.
      width: of the hidden layers.
      methods: which to compare.
    """
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:num_cores])  # Before JAX starts its threads.
    env, rows = LightsOut(size=3), []
    for method in methods:
        sizes = Sizes(width=width, moves_per_call=5_120 if method == "DQN" else 20_480)
        rows.append({"method": method, "num_cores": num_cores, "sizes": _written(sizes, method)})
        rows[-1] |= _compared(_sides(method, env, sizes), sizes.moves_per_call, repeats)
        print(_line(rows[-1]), flush=True)
    command = f"{COMMAND} --repeats {repeats} --num-cores {num_cores} --width {width} --methods {' '.join(methods)}"
    versions = {name: importlib.metadata.version(name) for name in OTHER_PACKAGES}
    found = {"command": command, "provenance": provenance(), "versions": versions, "env": env.name, "rows": rows}
    write_json_atomic(output, found | {"load_average": os.getloadavg()})
    print(f"Written to {output}")


def _sides(method: str, env: Env, sizes: Sizes) -> dict[str, Side]:
    try:
        from benchmarks import rejax_agents as other
    except ImportError as error:
        raise SystemExit(f'rejax is needed ({error}); install it with: pip install -e ".[throughput]"') from error
    if (version := importlib.metadata.version("gymnax")).split(".")[0] != "0":
        raise SystemExit(f'rejax needs gymnax below 1, came {version}; install it with: pip install -e ".[throughput]"')
    pool = other.pooled_problems(env, sizes.episodes, NUM_POOLED)
    draws = {"rejax": other.fresh_problems(env, sizes.episodes), "rejax_pooled": pool}
    sides = {"ours": _ours(method, env, sizes)}
    for name, draw in draws.items():
        sides[name] = _theirs(other.algorithm(method, other.GymnaxEnv(env, sizes.episodes, draw), sizes))
    if len({side.num_parameters for side in sides.values()}) != 1:
        raise ValueError(f"expected networks of one size, came {sides}")
    return sides


def our_agent(method: str, sizes: Sizes) -> OnlineLearner:
    """Returns our agent of the given sizes, whose compiled call makes as many moves as one timed call."""
    network = PlainMLP(width=sizes.width, activation=NormalisedRelu if method == "PQN" else Swish)
    if method == "DQN":
        agent = OnlineQLearning(
            network=network,
            episodes=sizes.episodes,
            num_walks_kept=sizes.dqn_walks_kept,
            steps_per_round=sizes.dqn_steps_per_move_of_all * sizes.episodes.episode_length,
            samples_per_step=sizes.dqn_batch_size,
        )
    else:
        rollout = sizes.rollouts[method]
        agent = {"PPO": PPO, "PQN": PQN}[method](
            network=network,
            episodes=sizes.episodes,
            rollout_length=rollout.length,
            num_epochs=rollout.num_epochs,
            num_minibatches=rollout.num_minibatches,
        )
    rounds, left_over = divmod(sizes.moves_per_call, agent.moves_per_round)
    if left_over:
        raise ValueError(f"expected whole rounds of {agent.moves_per_round} moves, came {sizes.moves_per_call}")
    training = Schedule(num_updates=1000 * rounds, updates_per_call=rounds, learning_rate=3e-4, weight_decay=0.0)
    return dataclasses.replace(agent, training=training)


def _ours(method: str, env: Env, sizes: Sizes) -> Side:
    # These stages look at no recorded moves.
    stage = our_agent(method, sizes).stages(env, None, jax.random.key(0), data_mesh())[0]
    state, resources, call = replicate(stage.init(), stage.mesh), stage.resources({}), stage.compile()
    num_parameters = _count(state.params)

    def run() -> None:
        nonlocal state
        state, losses = call(state, resources)
        jax.block_until_ready((state, losses))

    return Side(run=run, num_compilations=call._cache_size, num_parameters=num_parameters)


def _theirs(algorithm: Any) -> Side:
    # Copies, because a target network shares its arrays at first, and what is given away twice is refused.
    state = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), algorithm.init_state(jax.random.key(0)))
    call = jax.jit(lambda state: algorithm.train(train_state=state)[0], donate_argnums=0)
    trained = [getattr(state, name).params for name in ("actor_ts", "critic_ts", "q_ts") if hasattr(state, name)]
    num_parameters = _count(trained)

    def run() -> None:
        nonlocal state
        state = jax.block_until_ready(call(state))

    return Side(run=run, num_compilations=call._cache_size, num_parameters=num_parameters)


def _count(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _compared(sides: dict[str, Side], num_moves: int, repeats: int) -> dict[str, Any]:
    """Times all sides in turn; returns moves per second, and how many times those of rejax ours are."""
    for side in sides.values():
        side.run()
        side.run()
    compiled = {name: side.num_compilations() for name, side in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats):
        order = list(sides) if repeat % 2 else list(reversed(sides))
        for name in order:
            began = time.perf_counter()
            sides[name].run()
            seconds[name].append(time.perf_counter() - began)
    if compiled != {name: side.num_compilations() for name, side in sides.items()}:
        raise ValueError(f"expected nothing to be compiled while it is timed; before it was {compiled}")
    found: dict[str, Any] = {
        "num_parameters": sides["ours"].num_parameters,
        "moves_per_call": num_moves,
        "moves_per_second": {name: round(num_moves / statistics.median(times)) for name, times in seconds.items()},
        "fastest_moves_per_second": {name: round(num_moves / min(times)) for name, times in seconds.items()},
    }
    for other in [name for name in sides if name != "ours"]:
        ratios = sorted(theirs / ours for theirs, ours in zip(seconds[other], seconds["ours"], strict=True))
        quarter = len(ratios) // 4
        found[f"ours_over_{other}"] = {
            "median": round(statistics.median(ratios), 2),
            "middle_half": [round(ratios[quarter], 2), round(ratios[-1 - quarter], 2)],
            "range": [round(ratios[0], 2), round(ratios[-1], 2)],
        }
    return found | {"seconds": {name: [round(one, 4) for one in times] for name, times in seconds.items()}}


def _written(sizes: Sizes, method: str) -> dict[str, Any]:
    """Returns the sizes that a method has."""
    fields = dataclasses.asdict(sizes)
    rollout = fields.pop("rollouts").get(method)
    common = {name: value for name, value in fields.items() if not name.startswith("dqn_")}
    return common | (rollout or {name: value for name, value in fields.items() if name.startswith("dqn_")})


def _line(row: dict[str, Any]) -> str:
    rates = "  ".join(f"{name} {rate:,}/s" for name, rate in row["moves_per_second"].items())
    names = [name for name in row if name.startswith("ours_over_")]
    return f"{row['method']}: {rates}  " + "  ".join(
        f"{name} {row[name]['median']} {row[name]['range']}" for name in names
    )


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
