"""Evolution strategies: perturb the policy, see which perturbations solve more, move that way; no gradient is taken."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key

from jepa.actors.base import Actor
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.base import Params
from jepa.agents.behaviour_cloning import policy_network
from jepa.agents.episodes import Episodes, EpisodeState, new_episodes
from jepa.agents.guided_search import Guide, policy_guide
from jepa.agents.offline import rebuilt
from jepa.agents.online import LEAST_ROUNDS, OnlineAgent, OnlineStage
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import Schedule, Stage, TrainState
from jepa.types import Trajectories, require_positive

LEAST_PAIRS = 8
"""Perturbations of a round below which there are not fewer of them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvolutionStrategies(OnlineAgent):
    """Antithetic Gaussian perturbations of all parameters, weighted by the ranks of their fitness.

    The fitness of a perturbed policy, followed greedily, is the mean over problems of `discount` to the power of the
    moves that it took, 0 where it did not get there; all perturbations of a round face the same problems.

    Source: Salimans et al., 2017.
    """

    network: Actor = ResidualMLPActor()
    """The policy."""
    episodes: Episodes = Episodes(num_envs=32)
    """The problems of a round, and how many moves each may take."""
    num_pairs: int = 32
    """Perturbations of a round, each tried in both directions."""
    noise: float = 0.05
    """Standard deviation of the perturbations."""
    discount: float = 0.95
    """What reaching the goal one move later is worth less."""
    training: Schedule = Schedule(
        num_updates=100, batch_size=64, learning_rate=1e-2, weight_decay=0.0, updates_per_call=1
    )
    """See base class; its batch counts the policies that are tried."""
    planner: Planner = ProposalSearch(width=1, horizon=20)
    """How the policy is followed."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "num_pairs", "noise", "discount")

    @property
    def moves_per_round(self) -> int:
        """See base class: those of all policies that are tried."""
        return 2 * self.num_pairs * self.episodes.num_envs * self.episodes.episode_length

    @property
    def samples_per_round(self) -> int:
        """See base class: the policies that are tried."""
        return 2 * self.num_pairs

    def within(self, num_transitions: int) -> "EvolutionStrategies":
        """See base class; where few rounds would fit, fewer perturbations are tried before fewer episodes are played.

        All perturbations of a round face the same problems, so that with fewer problems their ranks become a lottery.
        """
        agent = self
        while agent.moves_per_round * LEAST_ROUNDS > num_transitions and agent.num_pairs >= 2 * LEAST_PAIRS:
            agent = dataclasses.replace(agent, num_pairs=agent.num_pairs // 2)
        return super(EvolutionStrategies, agent).within(num_transitions)

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class; the recorded moves are not looked at."""
        return [_EvolutionStage(self, env, key, mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class."""
        return policy_guide(rebuilt(lambda rngs: policy_network(self.network, env, rngs), params[_EvolutionStage.name]))


class _EvolutionStage(OnlineStage):
    name = "policy"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return policy_network(self.config.network, self.env, rngs)

    def update(self, state: TrainState, data: tuple) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        problem_key, noise_key = jax.random.split(jax.random.fold_in(self.update_key, state.num_updates))
        problems = new_episodes(self.env, self.config.episodes, problem_key)
        keys = jax.random.split(noise_key, self.config.num_pairs)

        def both_ways(key: Key[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
            noise = self._noise(state.params, key)
            plus, minus = (
                jax.tree.map(
                    lambda leaf, change, sign=sign: leaf + sign * self.config.noise * change, state.params, noise
                )
                for sign in (1.0, -1.0)
            )
            return self._fitness(plus, problems), self._fitness(minus, problems)

        plus, minus = jax.lax.map(both_ways, keys)
        ranks = jnp.argsort(jnp.argsort(jnp.concatenate([plus, minus]))) / (2 * len(keys) - 1) - 0.5
        weights = ranks[: len(keys)] - ranks[len(keys) :]

        def add(total: Params, pair: tuple) -> tuple:
            key, weight = pair
            # The optimizer descends; the fitness is to rise.
            return jax.tree.map(lambda old, noise: old - weight * noise, total, self._noise(state.params, key)), None

        direction, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, state.params), (keys, weights))
        direction = jax.tree.map(lambda leaf: leaf / (2 * len(keys) * self.config.noise), direction)
        fitness = jnp.concatenate([plus, minus])
        updated = self.apply_gradients(state, direction, state.target)
        return updated, {"loss": -fitness.mean(), "best_fitness": fitness.max()}

    def _noise(self, params: Params, key: Key[Array, ""]) -> Params:
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(key, len(leaves))
        return structure.unflatten([jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)])

    def _fitness(self, params: Params, problems: EpisodeState) -> Float[Array, ""]:
        policy = self.module(params)

        def move(carry, number):
            states, worth = carry
            legal = jax.vmap(self.env.legal_actions)(states)
            codes, goals = self.codes(dataclasses.replace(problems, states=states))
            actions = jnp.where(legal, policy(codes, goals), -jnp.inf).argmax(axis=-1)
            states = jax.vmap(self.env.step)(states, actions)
            reached = self.config.episodes.met_by(self.env, states, problems.goals)
            return (states, jnp.maximum(worth, reached * self.config.discount ** (number + 1))), None

        carry = (problems.states, jnp.zeros(len(problems.states)))
        (_, worth), _ = jax.lax.scan(move, carry, jnp.arange(self.config.episodes.episode_length))
        return worth.mean()
