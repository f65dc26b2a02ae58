"""MuZero for one player: a model learned for nothing but values, policies and rewards, and tree search on it."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Key

from jepa.actors.base import Actor, proposals
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.alpha_zero import policy_error
from jepa.agents.base import Params, PlanFunction
from jepa.agents.episodes import Episodes
from jepa.agents.exact_model import exact_codes, exact_planning_model
from jepa.agents.mu_zero_networks import MuZeroNetworks
from jepa.agents.mu_zero_windows import Windows, empty_windows, windows
from jepa.agents.offline import rebuilt
from jepa.agents.replay import Practice, ReplayAgent, ReplayStage, empty_replay
from jepa.agents.rollouts import outcomes
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.tree_search import GumbelTreeSearch
from jepa.predictors.base import Predictor
from jepa.predictors.legality import Legality, LegalityHead
from jepa.predictors.mlp import MLPPredictor
from jepa.training import Schedule, Stage, TrainState
from jepa.types import Plan, Problem, Trajectories, added_later, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class MuZero(ReplayAgent):
    """Representation, dynamics and prediction, trained together on unrolled moves.

        z_0 = h(s_t),  z_k = g(z_(k-1), a_(t+k-1)),  loss_k = -p_k log pi(z_k, h(goal)) + |v(z_k, h(goal)) - G_k|^2

    p_k is what the search preferred and G_k the discounted outcome, as in AlphaZero. The reward is whether the goal is
    reached, read from the latent after a move. With a `consistency_weight`, as in EfficientZero, z_k is also to
    foretell h(s_(t+k)), which is held fixed; without one nothing ties latents to states, as in MuZero. Moves are taken
    by Gumbel search on the learned model, so that only the moves it makes count as seen; the newest are learned from
    again and again. Test problems are planned in latents alone, unless it `replans` or is `given_dynamics`.

    Source: Schrittwieser et al., 2020; Danihelka et al., 2022; Ye et al., 2021. Different here: values are scalars; the
    goal goes through the representation too; which actions are legal is learned, as a plan is made without looking at
    states; what a search preferred is not searched for anew.
    """

    network: Actor = ResidualMLPActor(hidden_width=256)
    """Policy, value and reward, each a network of this kind on latents."""
    dynamics: Predictor = MLPPredictor(hidden_width=256)
    """A latent and an action to the next latent."""
    latent_width: int = 128
    """Width of a latent, or of each of its slots."""
    hidden_width: int = 512
    """Width of the hidden layers of the representation; 0 leaves it linear."""
    token_slots: bool = added_later(False, before=False)
    """Whether each token of a state has a slot of the latent to itself, as each square has in MuZero's planes, for
    networks that look at several slots at once, such as `TrunkActor`, `TrunkPredictor` and `TrunkLegality`."""
    legality: Legality = added_later(LegalityHead(), before=LegalityHead())
    """What reads from a latent which actions are legal."""
    num_unrolled: int = 5
    """K, moves over which the model is unrolled."""
    episodes: Episodes = Episodes(num_envs=64)
    """What it practises on."""
    practice: GumbelTreeSearch = GumbelTreeSearch(num_simulations=16, gumbel_scale=1.0)
    """The search that chooses moves in practice."""
    rollout_length: int = 16
    """T, moves of each episode between two rounds of learning."""
    num_kept: int = 32_768
    """Newest moves that are learned from."""
    steps_per_round: int = 32
    """See base class."""
    samples_per_step: int = 256
    """See base class; with each come the moves that it is unrolled over."""
    value_weight: float = 0.5
    """Factor of the error of the value."""
    consistency_weight: float = added_later(0.0, before=0.0)
    """Factor of the distance, 1 minus the cosine, between what an unrolled latent foretells and the latent of the state
    that came; 2 in EfficientZero."""
    legality_of_states: bool = added_later(False, before=False)
    """Whether legality is learned, beside from unrolled latents, from those of the states that came, too; these are
    held fixed, as where a world model of ours learns it. Unrolled latents are of little use for it as long as moves
    are not foretold."""
    masks_imagined: bool = added_later(True, before=True)
    """Whether tree search takes only actions that are read from imagined latents to be legal; otherwise, as published,
    any below the root, where it is known which are legal, and the policy learns to leave out the others. Plans made
    in latents alone keep to what is read either way: nothing else is known there."""
    training: Schedule = Schedule(
        num_updates=200, batch_size=8192, learning_rate=1e-3, weight_decay=1e-4, updates_per_call=1
    )
    """See base class."""
    planner: Planner = GumbelTreeSearch(num_simulations=64)
    """The search on test problems."""
    replans: bool = False
    """Whether tree search makes each of its moves on the true dynamics and looks at the state again before the next,
    as published; otherwise a whole plan is made in latents alone. Other planners do that anyway."""
    given_dynamics: bool = added_later(False, before=False)
    """Whether planners search on the true dynamics, led by what is read from the latents of true states, as
    AlphaZero's do: it shows whether values or the learned model are what is lacking. Nothing is left to replan then."""

    grading_fields: ClassVar[frozenset[str]] = frozenset({"planner", "replans", "given_dynamics"})

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        super().__post_init__()
        require_positive(self, "latent_width", "num_unrolled", "rollout_length")
        self.check_capacity(self.num_kept, self.moves_per_round)
        for name in ("hidden_width", "consistency_weight"):
            if (value := getattr(self, name)) < 0:
                raise ValueError(f"MuZero.{name} must be 0 or more; got {value}")

    @property
    def moves_per_round(self) -> int:
        """See base class; moves that are imagined are none."""
        return self.episodes.num_envs * self.rollout_length

    @property
    def is_consistent(self) -> bool:
        """Whether unrolled latents are compared with those of the states that came."""
        return self.consistency_weight > 0

    @property
    def looks_at_following(self) -> bool:
        """Whether anything is learned from the states that came, beside whether the goal was reached in them."""
        return self.is_consistent or self.legality_of_states

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class; the recorded moves are not looked at."""
        return [_MuZeroStage(self, env, key, mesh)]

    def planning_verifier_calls(self, num_nodes: float, num_moves: float) -> float:
        """See base class: after each move that is made, where it replans; every node, on the true dynamics."""
        return num_nodes if self.given_dynamics else num_moves if self._looks_again else 0.0

    def networks(self, env: Env, rngs: nnx.Rngs) -> MuZeroNetworks:
        """Returns the networks with fresh parameters."""
        return MuZeroNetworks(
            env,
            head=self.network,
            dynamics=self.dynamics,
            legality=self.legality,
            latent_width=self.latent_width,
            hidden_width=self.hidden_width,
            token_slots=self.token_slots,
            is_consistent=self.is_consistent,
            rngs=rngs,
        )

    def trained_networks(self, env: Env, params: Params) -> MuZeroNetworks:
        """Returns the networks with trained parameters."""
        return rebuilt(lambda rngs: self.networks(env, rngs), params[_MuZeroStage.name])

    @property
    def _looks_again(self) -> bool:
        return self.replans and not self.given_dynamics and isinstance(self.planner, GumbelTreeSearch)

    def plan_function(self, env: Env) -> PlanFunction:
        """See base class; in latents alone, only start and goal pass from the environment to the planner."""

        def plan(params: Params, problems: Problem, key: Key[Array, ""]) -> Plan:
            module = self.trained_networks(env, params)
            masked = self.masks_imagined or not self._looks_again
            learned, represent = module.planning_model(self.practice.discount, masked=masked), module.represent
            start = exact_codes(env, problems.start)
            goals = self.episodes.test_goals(env, problems.goal)
            goal_latents = represent(goals["given"])
            if not (self.given_dynamics or self._looks_again):
                return self.planner.plan(learned, represent(start), goal_latents, key)
            world = exact_planning_model(
                env,
                lambda codes, goals: learned.cost(represent(codes), goals),
                lambda codes, goals, legal: proposals(module.policy, represent(codes), goals, legal),
            )
            seen_goals = goals | {"given": goal_latents}
            if self.given_dynamics:
                return self.planner.plan(world, start, seen_goals, key)

            def choose(codes: Float[Array, "B E"], allowed: Bool[Array, "B A"], key: Key[Array, ""]):
                return self.planner.decide(learned, represent(codes), goal_latents, key, allowed)[0]

            return self.planner.walk(choose, world, start, seen_goals, key)

        return plan


class _MuZeroStage(ReplayStage):
    name = "model"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return self.config.networks(self.env, rngs)

    def init_target(self, params: Params) -> Practice:
        episodes = super().init_target(params)
        config, env = self.config, self.env
        example = empty_windows(
            episodes, config.num_unrolled, env.num_tokens, env.num_actions, with_following=config.looks_at_following
        )
        return Practice(episodes=episodes, replay=empty_replay(example, config.num_kept))

    def update(self, state: TrainState, data: tuple) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        config, module = self.config, self.module(state.params)
        play_key, learn_key = jax.random.split(jax.random.fold_in(self.update_key, state.num_updates))
        model = module.planning_model(config.practice.discount, masked=config.masks_imagined)

        def act(episodes, codes, goals, legal, key):
            return config.practice.decide(model, module.represent(codes), module.represent(goals)[:, None], key, legal)

        episodes, steps, policy = self.play(state.target.episodes, act, config.rollout_length, play_key)
        codes, goals = self.codes(episodes)
        last_values = module.value(module.represent(codes), module.represent(goals))[:, 0]
        returns = outcomes(steps, last_values, config.practice.discount)
        unrolled, with_following = config.num_unrolled, config.looks_at_following
        samples = windows(steps, policy, returns, unrolled, with_following=with_following)
        return self.learn_from_practice(state, episodes, steps, samples, learn_key)

    def loss(self, params: dict, samples: Windows) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        module, num_unrolled = self.module(params), self.config.num_unrolled
        codes, goals = self.codes(samples.before)
        latents, goals = module.unroll(codes, samples.actions), module.represent(goals)[:, None]
        weights = jnp.where(jnp.arange(num_unrolled + 1) == 0, 1.0, 1.0 / num_unrolled)
        may_come = samples.legal if self.config.masks_imagined else jnp.ones_like(samples.legal)
        search_error = policy_error(module.policy(latents, goals), samples.policy, may_come)
        value_error = (module.value(latents, goals)[..., 0] - samples.returns) ** 2
        reached_error = optax.sigmoid_binary_cross_entropy(module.reached(latents, goals)[..., 0], samples.reached)
        came = module.represent(exact_codes(self.env, samples.following)) if self.config.looks_at_following else None
        legality_error = _legality_error(module, latents, samples.legal)
        if self.config.legality_of_states:
            of_states = jax.lax.stop_gradient(jnp.concatenate([latents[:, :1], came], axis=1))
            legality_error = (legality_error + _legality_error(module, of_states, samples.legal)) / 2
        at_states = search_error + self.config.value_weight * value_error + legality_error
        errors = samples.is_state * at_states + samples.is_judged * reached_error
        figures = {
            "policy_loss": jnp.mean(search_error, where=samples.is_state),
            "value_loss": jnp.mean(value_error, where=samples.is_state),
            "reached_loss": jnp.mean(reached_error, where=samples.is_judged),
            "legality_loss": jnp.mean(legality_error, where=samples.is_state),
        }
        if self.config.is_consistent:
            is_known, distances = samples.is_state[:, 1:], module.distances(latents[:, 1:], came)
            errors = errors.at[:, 1:].add(self.config.consistency_weight * is_known * distances)
            figures["consistency_loss"] = jnp.mean(distances, where=is_known)
        return (weights * errors).sum(axis=-1).mean(), figures


def _legality_error(
    module: MuZeroNetworks, latents: Float[Array, "*B D"], legal: Bool[Array, "*B A"]
) -> Float[Array, "*B"]:
    return optax.sigmoid_binary_cross_entropy(module.legality(latents), legal).mean(axis=-1)
