"""Adversarial imitation: a reward that tells an expert's moves from one's own, and PPO that is paid by it."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.actors.base import Actor
from jepa.agents.base import Params, ScoreFunction
from jepa.agents.behaviour_cloning import policy_network
from jepa.agents.episodes import Episodes, Step, new_episodes
from jepa.agents.exact_model import exact_codes, exact_goal_codes
from jepa.agents.guided_search import Guide, moves_of_value, policy_guide
from jepa.agents.offline import rebuilt
from jepa.agents.ppo import PPO, ActorCritic, PPOSamples, PPOStage
from jepa.envs.base import Env
from jepa.mesh import replicate
from jepa.training import Schedule, Stage
from jepa.types import Goal, Problem, Trajectories, pytree, require_positive

MAX_LOGIT = 10.0
"""Logits of the discriminator are clipped to this for the reward: no move is infinitely unlike the expert's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialImitation(PPO):
    """No reward is given: D(s, g, a), the probability that the expert made a move, is learned beside the policy.

        maximise  E_expert log D + E_policy log(1 - D)   over D,      E_policy sum of discounted log D   over the policy

    The expert is the exact solver. log D is never positive, so that nothing is gained by staying away from the goal;
    where policy and expert cannot be told apart a move costs log 2, and the value counts moves: that is the cost by
    which a search can choose among plans. An episode that is given up is worth what it was before its last move, as no
    reward says that it failed.

    Source: GAIL (Ho and Ermon, 2016), with PPO; the sign of the reward as in Kostrikov et al., 2019, section 4.1.
    """

    num_expert_moves: int = 4096
    """Moves of the expert, which count as seen; at most half of what may be seen."""

    training: Schedule = Schedule(
        num_updates=500, batch_size=16_384, learning_rate=1e-3, weight_decay=0.0, updates_per_call=1
    )
    """See base class; half of its batch are moves of the expert."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        super().__post_init__()
        require_positive(self, "num_expert_moves", "discount")
        if self.discount >= 1:
            raise ValueError(f"AdversarialImitation.discount must be below 1; got {self.discount}")

    @property
    def samples_per_round(self) -> int:
        """See base class; as many moves of the expert."""
        return 2 * super().samples_per_round

    def within(self, num_transitions: int) -> "AdversarialImitation":
        """See base class: the expert's moves first, then as many rounds as fit into the rest."""
        num_expert_moves = min(self.num_expert_moves, max(1, num_transitions // 2))
        practising = super().within(num_transitions - num_expert_moves)
        return dataclasses.replace(practising, num_expert_moves=num_expert_moves)

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class; the recorded moves are not looked at."""
        return [_ImitationStage(self, env, key, mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class: the policy proposes, and the value of the learned reward is the cost."""
        module = self._rebuilt(env, params)

        def cost(codes: Float[Array, "B C D"], goals: Float[Array, "B K D"]) -> Float[Array, "B C"]:
            discounted = -module.value(codes[:, :, None], goals[:, None]).max(axis=-1) / np.log(2)
            return moves_of_value(1 - (1 - self.discount) * discounted, self.discount)

        return dataclasses.replace(policy_guide(module.policy), cost=cost)

    def plan_scores(self, env: Env) -> ScoreFunction:
        """See base class: minus the learned reward of all moves of a plan, whether they arrive or not."""

        def minus_reward(params: Params, problems: Problem, actions: Int[Array, "B T"]) -> Float[Array, " B"]:
            module, goals = self._rebuilt(env, params), exact_goal_codes(env, problems.goal)

            def move(states: Int[Array, "B N"], chosen: Int[Array, " B"]):
                is_move, chosen = chosen >= 0, jnp.maximum(chosen, 0)
                rewards = _rewards(module.expert_logits(exact_codes(env, states), goals, chosen))
                moved = jax.vmap(env.step)(states, chosen)
                return jnp.where(is_move[:, None], moved, states), jnp.where(is_move, rewards, 0.0)

            return -jax.lax.scan(move, problems.start, actions.T)[1].sum(axis=0)

        return minus_reward

    def _rebuilt(self, env: Env, params: Params) -> "_Imitator":
        return rebuilt(lambda rngs: _Imitator(self.network, env, rngs), params[_ImitationStage.name])


class _Imitator(ActorCritic):
    """Policy, value, and the discriminator's logit of every action."""

    def __init__(self, network: Actor, env: Env, rngs: nnx.Rngs):
        super().__init__(network, env, rngs)
        self.discriminator = policy_network(network, env, rngs)

    def expert_logits(
        self, codes: Float[Array, "*B D"], goals: Float[Array, "*B D"], actions: Int[Array, "*B"]
    ) -> Float[Array, "*B"]:
        """Returns how much more likely moves are the expert's, as a logarithm."""
        return jnp.take_along_axis(self.discriminator(codes, goals), actions[..., None], axis=-1)[..., 0]


def _rewards(logits: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Returns log D of moves."""
    return jax.nn.log_sigmoid(jnp.clip(logits, -MAX_LOGIT, MAX_LOGIT))


@pytree
class ExpertMoves:
    """Moves on shortest ways."""

    states: Int[Array | np.ndarray, "*B N"]
    """States before them."""
    goals: Goal
    """What they lead to."""
    actions: Int[Array | np.ndarray, "*B"]
    """The moves."""


@pytree
class _Pairs:
    """As many moves of the expert as of the policy."""

    own: PPOSamples
    """Moves of the policy."""
    expert: ExpertMoves
    """Moves of the expert."""


class _ImitationStage(PPOStage):
    def __init__(self, config: AdversarialImitation, env: Env, key: Key[Array, ""], mesh: Mesh):
        self.expert_key = jax.random.fold_in(key, 2)
        self.transitions_before = config.num_expert_moves
        super().__init__(config, env, key, mesh)

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return _Imitator(self.config.network, self.env, rngs)

    def resources(self, params: Params) -> ExpertMoves:
        expert = expert_moves(self.env, self.config.episodes, self.config.num_expert_moves, self.expert_key)
        return replicate(expert, self.mesh)

    def rewards(self, module: _Imitator, steps: Step) -> Float[Array, "T B"]:
        return _rewards(module.expert_logits(steps.codes, steps.goals, steps.actions))

    def worth_after_end(self, steps: Step, values: Float[Array, "T B"]) -> Float[Array, "T B"]:
        return jnp.where(steps.solved, 0.0, values)

    def beside(self, samples: PPOSamples, data: ExpertMoves, key: Key[Array, ""]) -> _Pairs:
        chosen = jax.random.randint(key, samples.advantages.shape, 0, len(data.actions))
        return _Pairs(own=samples, expert=jax.tree.map(lambda leaf: leaf[chosen], data))

    def loss(self, params: dict, samples: _Pairs) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        policy_loss, figures = super().loss(params, samples.own)
        module, steps, expert = self.module(params), samples.own.steps, samples.expert
        pair = exact_codes(self.env, expert.states), exact_goal_codes(self.env, expert.goals)
        experts = module.expert_logits(*pair, expert.actions)
        own = module.expert_logits(steps.codes, steps.goals, steps.actions)
        told_apart = optax.sigmoid_binary_cross_entropy(experts, jnp.ones_like(experts))
        told_apart += optax.sigmoid_binary_cross_entropy(own, jnp.zeros_like(own))
        figures |= {"discriminator_loss": told_apart.mean(), "expert_logit_of_own_moves": own.mean()}
        return policy_loss + told_apart.mean(), figures


def expert_moves(env: Env, episodes: Episodes, num_moves: int, key: Key[Array, ""]) -> ExpertMoves:
    """Returns moves on shortest ways to the goals of problems to practise on: down the exact distances.

    Where several moves are on a shortest way, one of them is drawn.

    Raises:
      ValueError: no distance of any of the problems is known.
    """
    found: list[ExpertMoves] = []
    number, missing = 0, num_moves
    draw = jax.jit(lambda key: new_episodes(env, episodes, key))
    while missing > 0:
        problems = draw(jax.random.fold_in(key, number))
        problems = Problem(start=np.asarray(problems.states), goal=jax.tree.map(np.asarray, problems.goals))
        if (env.optimal_lengths(problems) < 0).all():
            raise ValueError(
                f"AdversarialImitation needs an expert, but no optimal length is known of {episodes.num_envs} problems "
                f"of {env.name} made by up to {episodes.max_scramble} moves"
            )
        walked = _plans(env, problems, np.random.default_rng([number, *np.asarray(jax.random.key_data(key))]))
        found += walked
        number, missing = number + 1, missing - sum(len(moves.actions) for moves in walked)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:num_moves], *found)


def _plans(env: Env, problems: Problem, random: np.random.Generator) -> list[ExpertMoves]:
    """Returns the moves of one shortest plan for each problem whose length is known, ply by ply."""

    @jax.jit
    def after(states: Int[Array, "B N"]) -> tuple[Int[Array, "B A N"], Bool[Array, "B A"]]:
        every = jax.vmap(jax.vmap(env.step, (None, 0)), (0, None))(states, jnp.arange(env.num_actions))
        return every, jax.vmap(env.legal_actions)(states)

    found, states, left = [], problems.start, env.optimal_lengths(problems)
    goals = jax.tree.map(lambda leaf: np.repeat(leaf, env.num_actions, axis=0), problems.goal)
    while (left > 0).any():
        successors, legal = jax.tree.map(np.asarray, after(states))
        lengths = env.optimal_lengths(Problem(start=successors.reshape(-1, env.num_tokens), goal=goals))
        is_best = legal & (lengths.reshape(legal.shape) == left[:, None] - 1)
        actions = np.where(is_best, random.random(legal.shape), -1.0).argmax(axis=1)
        moves = ExpertMoves(states=states, goals=problems.goal, actions=actions)
        found.append(jax.tree.map(lambda leaf, left=left: leaf[left > 0], moves))
        states = np.where((left > 0)[:, None], successors[np.arange(len(states)), actions], states)
        left = np.maximum(left - 1, 0)
    return found
