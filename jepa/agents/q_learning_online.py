"""Deep Q-learning with hindsight goals, online: walk by the network, remember the walks, learn from all of them."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.agents.base import Params
from jepa.agents.behaviour_cloning import policy_network
from jepa.agents.episodes import EpisodeState, epsilon_after, explore, new_episodes
from jepa.agents.offline import sample_hindsight
from jepa.agents.online import OnlineAgent, OnlineStage
from jepa.agents.q_learning import QLearning, q_loss
from jepa.agents.replay import ReplayAgent
from jepa.envs.base import Env
from jepa.training import Schedule, Stage, TrainState
from jepa.types import Trajectories, pytree, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnlineQLearning(QLearning, ReplayAgent, OnlineAgent):
    """DQN with hindsight replay: each round walks from new problems, epsilon-greedily, and keeps the newest walks.

    Source: as `QLearning`; replay and exploration as in DQN.
    """

    num_walks_kept: int = 4096
    """Newest walks that are learned from."""
    last_epsilon: float = 0.1
    """Share of random moves in the second half of the rounds, to which it falls from 1."""
    training: Schedule = Schedule(
        num_updates=200, batch_size=32_768, learning_rate=5e-4, weight_decay=0.0, updates_per_call=1
    )
    """See base class."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        super().__post_init__()
        ReplayAgent.__post_init__(self)
        require_positive(self, "num_walks_kept")
        if self.num_walks_kept % self.episodes.num_envs:
            raise ValueError(
                f"OnlineQLearning.num_walks_kept must be a multiple of the {self.episodes.num_envs} walks of a round; "
                f"got {self.num_walks_kept}"
            )

    @property
    def moves_per_round(self) -> int:
        """See base class: every walk has `episode_length` moves, also beyond the goal."""
        return self.episodes.num_envs * self.episodes.episode_length

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class; the recorded moves are not looked at."""
        return [_OnlineQStage(self, env, key, mesh)]


@pytree
class _Replay:
    """Walks, the oldest overwritten, and the target network."""

    walks: Trajectories
    """The walks; places that no walk has taken yet repeat those of the first round."""
    target: dict
    """Parameters of the target network."""


class _OnlineQStage(OnlineStage):
    name = "q"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return policy_network(self.config.network, self.env, rngs)

    def init_target(self, params: Params) -> _Replay:
        env, count, length = self.env, self.config.num_walks_kept, self.config.episodes.episode_length
        walks = Trajectories(
            states=jnp.zeros((count, length + 1, env.num_tokens), jnp.int32),
            actions=jnp.zeros((count, length), jnp.int32),
            legal_actions=jnp.zeros((count, length + 1, env.num_actions), bool),
        )
        return _Replay(walks=walks, target=jax.tree.map(jnp.copy, params))

    def update(self, state: TrainState, data: tuple) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        keys = jax.random.split(jax.random.fold_in(self.update_key, state.num_updates), 3)
        problems = new_episodes(self.env, self.config.episodes, keys[0])
        epsilon = epsilon_after(2 * state.num_updates / self.schedule.num_updates, self.config.last_epsilon)
        walks, solved = self._walk(self.module(state.params), problems, epsilon, keys[1])
        kept = self._keep(state.target.walks, walks, state.num_updates)

        def loss(params, target, key):
            batch = sample_hindsight(
                self.env,
                kept,
                self.config.samples_per_step,
                self.config.goals,
                key,
                as_posed=self.config.episodes.as_posed,
            )
            return q_loss(self.module(params), self.module(target), batch, self.config.max_cost)

        step_keys = jax.random.split(keys[2], self.config.steps_per_round)
        params, target, opt_state, figures = self.descend(
            state, loss, step_keys, state.target.target, self.config.target_rate
        )
        figures |= {"solved_episodes": solved.mean(), "epsilon": epsilon}
        replay = _Replay(walks=kept, target=target)
        return TrainState(params=params, target=replay, opt_state=opt_state, num_updates=state.num_updates + 1), figures

    def _walk(
        self, network: nnx.Module, problems: EpisodeState, epsilon: Float[Array, ""], key: Key[Array, ""]
    ) -> tuple[Trajectories, Bool[Array, " B"]]:
        """Walks from all problems; returns the walks and which came by their goal."""
        met_by = functools.partial(self.config.episodes.met_by, self.env, goals=problems.goals)

        def move(states, step):
            legal = jax.vmap(self.env.legal_actions)(states)
            codes, goals = self.codes(dataclasses.replace(problems, states=states))
            best = jnp.where(legal, network(codes, goals), jnp.inf).argmin(axis=-1)
            actions = explore(best, legal, epsilon, jax.random.fold_in(key, step))
            reached = met_by(states)
            return jax.vmap(self.env.step)(states, actions), (states, actions, legal, reached)

        length = self.config.episodes.episode_length
        last, (states, actions, legal, reached) = jax.lax.scan(move, problems.states, jnp.arange(length))
        end = jax.vmap(self.env.legal_actions)(last)
        states, legal = jnp.append(states, last[None], axis=0), jnp.append(legal, end[None], axis=0)
        walks = Trajectories(
            states=states.swapaxes(0, 1), actions=actions.swapaxes(0, 1), legal_actions=legal.swapaxes(0, 1)
        )
        return walks, reached.any(axis=0) | met_by(last)

    def _keep(self, kept: Trajectories, walks: Trajectories, number: Int[Array, ""]) -> Trajectories:
        """Returns the kept walks with those of a round in place of the oldest; the first round takes all places."""
        copies = self.config.num_walks_kept // self.config.episodes.num_envs
        place = (number % copies) * self.config.episodes.num_envs

        def put(old: Array, new: Array) -> Array:
            everywhere = jnp.tile(new, (copies, *[1] * (new.ndim - 1)))
            return jnp.where(number == 0, everywhere, jax.lax.dynamic_update_slice_in_dim(old, new, place, axis=0))

        return jax.tree.map(put, kept, walks)
