"""PQN: Q-learning in many episodes at once, without replay and without a target network."""

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
from jepa.agents.episodes import Step, epsilon_after, explore
from jepa.agents.guided_search import Guide, moves_of_value
from jepa.agents.offline import rebuilt
from jepa.agents.online import OnlineAgent
from jepa.agents.q_learning import moves_left_guide
from jepa.agents.rollouts import RolloutAgent, RolloutStage, lambda_returns
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import Schedule, Stage, TrainState
from jepa.types import Trajectories, pytree, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class PQN(RolloutAgent, OnlineAgent):
    """q(s_t, g, a_t) towards the lambda-return of its own values; LayerNorm in the network is what keeps it stable.

        G_t = r_t + discount (trace_decay G_(t+1) + (1 - trace_decay) max_a q(s_(t+1), g, a))

    r_t is 1 for reaching the goal; an episode that is given up counts as one that fails, as in PPO. The network must
    normalise its layers, as `ResidualMLPActor` does.

    Source: Gallici et al., 2025, with AdamW for RAdam.
    """

    network: Actor = ResidualMLPActor()
    """The network, with one output per action."""
    rollout_length: int = 32
    """See base class."""
    num_epochs: int = 2
    """See base class."""
    num_minibatches: int = 32
    """See base class."""
    discount: float = 0.95
    """What a move later is worth less."""
    trace_decay: float = 0.65
    """Lambda: 0 looks one move ahead, 1 to the end of the round."""
    last_epsilon: float = 0.1
    """Share of random moves to which it falls from 1."""
    exploration_fraction: float = 0.2
    """Share of the rounds in which it falls."""
    temperature: float = 0.2
    """Moves of difference at which one action is proposed e times as often as another."""
    training: Schedule = Schedule(
        num_updates=250, batch_size=8192, learning_rate=5e-4, weight_decay=0.0, updates_per_call=1
    )
    """See base class."""
    planner: Planner = ProposalSearch(width=1, horizon=20)
    """How the policy is followed; a search such as `BeamSearch` goes by the value."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        super().__post_init__()
        require_positive(self, "discount", "exploration_fraction", "temperature")
        for name in ("trace_decay", "last_epsilon"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"PQN.{name} must lie between 0 and 1; got {getattr(self, name)}")
        if self.discount >= 1:
            raise ValueError(f"PQN.discount must be below 1; got {self.discount}")

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class; the recorded moves are not looked at."""
        return [_PQNStage(self, env, key, mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class."""
        network = rebuilt(lambda rngs: policy_network(self.network, env, rngs), params[_PQNStage.name])

        def moves_left(codes: Float[Array, "B C D"], goals: Float[Array, "B K D"]) -> Float[Array, "B C A"]:
            value = network(codes[:, :, None], goals[:, None]).max(axis=2)
            return 1 + moves_of_value(value, self.discount)

        return moves_left_guide(moves_left, self.temperature)


@pytree
class _Samples:
    steps: Step
    """Moves."""
    returns: Float[Array, "*B"]
    """What they turned out to be worth."""


class _PQNStage(RolloutStage):
    name = "q"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return policy_network(self.config.network, self.env, rngs)

    def update(self, state: TrainState, data: tuple) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        config, network = self.config, self.module(state.params)
        play_key, learn_key = jax.random.split(jax.random.fold_in(self.update_key, state.num_updates))
        done = state.num_updates / self.schedule.num_updates
        epsilon = epsilon_after(done / config.exploration_fraction, config.last_epsilon)

        def act(episodes, codes, goals, legal, key):
            values = jnp.where(legal, network(codes, goals), -jnp.inf)
            return explore(values.argmax(axis=-1), legal, epsilon, key), values.max(axis=-1)

        episodes, steps, values = self.play(state.target, act, config.rollout_length, play_key)
        legal = jax.vmap(self.env.legal_actions)(episodes.states)
        last_values = jnp.where(legal, network(*self.codes(episodes)), -jnp.inf).max(axis=-1)
        returns = lambda_returns(steps.solved, steps.ended, values, last_values, config.discount, config.trace_decay)
        state, figures = self.learn(state, episodes, steps, _Samples(steps=steps, returns=returns), learn_key)
        return state, figures | {"epsilon": epsilon}

    def loss(self, params: dict, samples: _Samples) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        steps = samples.steps
        values = self.module(params)(steps.codes, steps.goals)
        chosen = jnp.take_along_axis(values, steps.actions[:, None], axis=-1)[:, 0]
        return jnp.mean((chosen - samples.returns) ** 2) / 2, {"mean_value": chosen.mean()}
