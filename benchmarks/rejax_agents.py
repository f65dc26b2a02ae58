"""Our domains as environments of gymnax, and rejax's algorithms on them: the other side of `online_throughput.py`.

Only what `pip install -e ".[throughput]"` installs is needed beyond the project.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import rejax
from gymnax.environments import spaces
from gymnax.environments.environment import Environment, EnvParams
from jaxtyping import Array, Bool, Float, Int, Key

from benchmarks.online_sizes import Sizes
from jepa.agents.episodes import Episodes, EpisodeState, new_episodes
from jepa.agents.exact_model import exact_codes, exact_goal_codes
from jepa.envs.base import Env, matches
from jepa.types import Goal, pytree


@pytree
class Playing:
    """Where one running episode stands."""

    state: Int[Array, " N"]
    """Current state."""
    goal: Goal
    """What is to be reached."""
    num_moves: Int[Array, ""]
    """Moves made."""


class GymnaxEnv(Environment):
    """Episodes as `jepa.agents.online.advance` runs them, one at a time; illegal moves are allowed and change nothing.

    An observation is the codes of the state, then those of the goal. The reward is 1 for reaching the goal.
    """

    def __init__(self, env: Env, config: Episodes, draw: Callable[[Key[Array, ""]], EpisodeState]):
        """Makes the environment.

        Args:
          env: the domain.
          config: when an episode ends.
          draw: a key to a new problem, with a leading axis of one; gymnax draws one with every move and throws it away
            unless the episode ended.
        """
        self._env, self._config, self._draw = env, config, draw

    @property
    def default_params(self) -> EnvParams:
        """How long episodes are."""
        return EnvParams(max_steps_in_episode=self._config.episode_length)

    def reset_env(self, key: Key[Array, ""], params: EnvParams) -> tuple[Float[Array, " 2D"], Playing]:
        """Returns the observation and the state of a new episode."""
        drawn = jax.tree.map(lambda leaf: leaf[0], self._draw(key))
        playing = Playing(state=drawn.states, goal=drawn.goals, num_moves=drawn.num_moves)
        return self.get_obs(playing), playing

    def step_env(
        self, key: Key[Array, ""], state: Playing, action: Int[Array, ""], params: EnvParams
    ) -> tuple[Float[Array, " 2D"], Playing, Float[Array, ""], Bool[Array, ""], dict]:
        """Returns observation, state, reward, whether the episode ended, and nothing more."""
        after = Playing(state=self._env.step(state.state, action), goal=state.goal, num_moves=state.num_moves + 1)
        solved = matches(after.state, after.goal)
        is_stuck = ~self._env.legal_actions(after.state).any()
        ended = solved | is_stuck | (after.num_moves >= params.max_steps_in_episode)
        return self.get_obs(after), after, solved.astype(jnp.float32), ended, {}

    def get_obs(self, state: Playing, params: Any = None, key: Any = None) -> Float[Array, " 2D"]:
        """Returns the observation."""
        return jnp.concatenate([exact_codes(self._env, state.state), exact_goal_codes(self._env, state.goal)])

    @property
    def num_actions(self) -> int:
        """Legal or not."""
        return self._env.num_actions

    def action_space(self, params: Any = None) -> spaces.Discrete:
        """The actions."""
        return spaces.Discrete(self._env.num_actions)

    def observation_space(self, params: Any = None) -> spaces.Box:
        """The observations."""
        return spaces.Box(-jnp.inf, jnp.inf, (2 * self._env.num_tokens * self._env.vocab_size,), jnp.float32)


def fresh_problems(env: Env, config: Episodes) -> Callable[[Key[Array, ""]], EpisodeState]:
    """Returns what draws a new problem, as ours are made: by a walk."""
    one = Episodes(num_envs=1, max_scramble=config.max_scramble, episode_length=config.episode_length)
    return lambda key: new_episodes(env, one, key)


def pooled_problems(env: Env, config: Episodes, num_problems: int) -> Callable[[Key[Array, ""]], EpisodeState]:
    """Returns what draws from problems that were all made beforehand: cheaper, and from fewer."""
    many = Episodes(num_envs=num_problems, max_scramble=config.max_scramble, episode_length=config.episode_length)
    pool = jax.jit(lambda: new_episodes(env, many, jax.random.key(0)))()
    return lambda key: jax.tree.map(lambda leaf: leaf[jax.random.randint(key, (1,), 0, num_problems)], pool)


def algorithm(method: str, env: GymnaxEnv, sizes: Sizes) -> rejax.Algorithm:
    """Returns rejax's algorithm of our sizes, whose `train` makes the moves of one timed call and evaluates nothing."""
    common = {
        "env": env,
        "num_envs": sizes.episodes.num_envs,
        "total_timesteps": sizes.moves_per_call,
        "eval_freq": sizes.moves_per_call,
        "skip_initial_evaluation": True,
    }
    if method == "DQN":
        own = {
            "num_epochs": sizes.dqn_steps_per_move_of_all,
            "batch_size": sizes.dqn_batch_size,
            "buffer_size": sizes.dqn_moves_kept,
            "fill_buffer": 0,
        }
    else:
        rollout = sizes.rollouts[method]
        own = {
            "num_steps": rollout.length,
            "num_epochs": rollout.num_epochs,
            "num_minibatches": rollout.num_minibatches,
        }
    created = {"PPO": rejax.PPO, "DQN": rejax.DQN, "PQN": rejax.PQN}[method].create(**common, **own)
    layers = (sizes.width, sizes.width)
    networks = {name: getattr(created, name) for name in ("actor", "critic", "agent") if hasattr(created, name)}
    wide = {name: network.clone(hidden_layer_sizes=layers) for name, network in networks.items()}
    return created.replace(eval_callback=lambda algorithm, state, key: (), **wide)
