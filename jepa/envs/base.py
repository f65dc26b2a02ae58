"""The interface of a reasoning domain: tokens, actions, goals, and the exact knowledge that grades plans.

A state of a domain *is* its observation: a fixed number of integer tokens. Reasoning problems are fully
observed, so nothing is gained by hiding half of the state behind an observation function; what is constant in
a problem (the level, the theory, the numbers) is part of the tokens too.

All array methods work on one state and are pure; callers batch them with `jax.vmap` and compile them with
`jax.jit`. Exact solvers are NumPy, batched, and used for grading alone.
"""

import abc
import dataclasses
import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from jepa.drawing import Drawing, text_drawing
from jepa.types import Goal, Problem


class GoalKind(enum.Enum):
    """How much a goal says about the state that satisfies it."""

    STATE = "one full state"
    STATE_SET = "a partial state, or a set of states"
    PREDICATE = "a property that no known state is needed to state"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Env(abc.ABC):
    """A reasoning domain. Subclasses are frozen dataclasses whose fields are the sizes of the domain."""

    test_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that choose test problems and nothing else; a trained run may be graded with other values of them."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Short name with the sizes in it, for folders and tables, such as `sliding_tiles_3x3`."""

    @property
    @abc.abstractmethod
    def num_tokens(self) -> int:
        """N, the number of tokens of a state."""

    @property
    @abc.abstractmethod
    def vocab_size(self) -> int:
        """Tokens lie in [0, vocab_size)."""

    @property
    @abc.abstractmethod
    def action_names(self) -> tuple[str, ...]:
        """One short name per action, in the order of the action numbers."""

    @property
    def num_actions(self) -> int:
        """A, the number of actions, legal or not in a given state."""
        return len(self.action_names)

    @property
    def grid_shape(self) -> tuple[int, int] | None:
        """(rows, columns) when the tokens lie on a grid, row by row; None otherwise."""
        return None

    @property
    def goal_kind(self) -> GoalKind:
        """Which of the three kinds of goal this domain poses."""
        return GoalKind.STATE

    @property
    def is_reversible(self) -> bool:
        """Whether every action can be undone by one action, so that distances are the same in both directions."""
        return True

    @abc.abstractmethod
    def step(self, state: Int[Array, " N"], action: Int[Array, ""]) -> Int[Array, " N"]:
        """Returns the state after an action; an illegal action leaves the state unchanged."""

    @abc.abstractmethod
    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """Returns which actions are possible in a state."""

    @abc.abstractmethod
    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """Returns a state at which recorded walks begin (the solved state, where there is just one)."""

    @abc.abstractmethod
    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws one solvable problem, uniformly where that is possible."""

    def is_solved(self, state: Int[Array, " N"], goal: Goal) -> Bool[Array, ""]:
        """Whether a state satisfies a goal, exactly: it matches one of the goal's alternatives."""
        return matches(state, self.goal_alternatives(goal)).any()

    def goal_alternatives(self, goal: Goal) -> Goal:
        """Returns the partial states of which a state must match at least one, with a leading axis of K.

        A full or partial state is its own only alternative, which is the default; a set ("some number is 24") has
        one for each place. It is what a planner's goal latents are made of.
        """
        return jax.tree.map(lambda leaf: leaf[None], goal)

    def hindsight_mask(self, state: Int[Array, " N"], key: Key[Array, ""]) -> Bool[Array, " N"]:
        """Draws which tokens of a reached state a goal of this domain could have asked for.

        Costs are learned towards goals that walks happened to reach, and these must look like the goals of problems:
        all tokens where the goal is a full state (the default), the cells of the boxes in Sokoban.
        """
        return jnp.ones(self.num_tokens, bool)

    def posed_goal(self, begin: Int[Array, " N"], end: Int[Array, " N"], key: Key[Array, ""]) -> Goal:
        """Draws a goal as a problem of this domain would pose it, for which a walk from `begin` to `end` is a solution.

        What an agent practises on must look like test problems, also where `hindsight_mask` names one of several ways
        to reach a goal: Countdown's target, wherever it comes to stand. By default the two ask for the same.
        """
        return Goal(tokens=end, mask=self.hindsight_mask(end, key))

    def verify(self, problem: Problem, actions: Int[Array, " T"]) -> tuple[Bool[Array, ""], Int[Array, ""]]:
        """Replays a plan step by step on the exact dynamics.

        Args:
          problem: one problem.
          actions: action numbers; everything from the first -1 on is ignored.

        Returns:
          Whether every action was legal and the last state satisfies the goal; and the plan's length.
        """
        is_action = jnp.cumprod(actions >= 0).astype(bool)

        def replay(carry, inputs):
            state, legal = carry
            action, active = inputs
            known = action < self.num_actions  # indexing alone would take the last action for it
            legal &= ~active | (known & self.legal_actions(state)[action])
            state = jnp.where(active, self.step(state, action), state)
            return (state, legal), None

        (state, legal), _ = jax.lax.scan(replay, (problem.start, jnp.bool_(True)), (jnp.maximum(actions, 0), is_action))
        return legal & self.is_solved(state, problem.goal), is_action.sum()

    @abc.abstractmethod
    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """Returns the least number of actions of each of B problems; -1 where none is known or exists."""

    def refutation(self, problem: Problem) -> str | None:
        """Says why no plan solves one problem, so that a person can check it; None where no reason is found.

        What it says must be true: a problem with a refutation has no solution. None says nothing. The default never
        finds a reason.
        """
        return None

    def written_plan(self, problem: Problem, actions: Int[np.ndarray, " T"]) -> list[str]:
        """Writes a plan that solves one problem for a person to read, as lines; one action name per line by default.

        Args:
          problem: one problem.
          actions: a plan that solves it; everything from the first -1 on is ignored.

        Raises:
          ValueError: a domain that writes more than names says where a plan fails.
        """
        names = self.action_names
        return [names[action] for action in actions_of_plan(actions)]

    @property
    def plan_checker(self) -> Callable[[Problem, Sequence[str]], str | None] | None:
        """A check of written plans that shares no code with the dynamics; None, the default, where there is none.

        It takes a problem and the lines of `written_plan`, and says what is wrong with them as a plan for this problem;
        None if nothing is.
        """
        return None

    @abc.abstractmethod
    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """Says in a sentence what is wrong with a state from outside; None if it is one of this domain."""

    @abc.abstractmethod
    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """Builds a batch of problems from the arrays of a problems file.

        Raises:
          ValueError: an array is missing or of the wrong shape, or a problem is not one of this domain; the
            message says which problem, what was expected and what came.
        """

    def arrays_from_text(self, text: str) -> Mapping[str, np.ndarray]:
        """Reads one problem as a person would write it, as arrays for `problems_from_arrays`.

        Raises:
          ValueError: the text is no problem, or the domain reads none, the default; the message says what it expects.
        """
        raise ValueError(f"{self.name} reads no problems from text; save them as arrays, see problems_from_arrays")

    @abc.abstractmethod
    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Draws a state as a few lines of text."""

    def render_goal(self, goal: Goal) -> str:
        """Says in text what is to be reached; the drawing of its tokens, by default."""
        return self.render(np.asarray(goal.tokens))

    def describe_action(self, state: Int[np.ndarray, " N"], action: int) -> str:
        """Says for a person what an action does in a state, legal or not; its name, by default."""
        return self.action_names[action]

    def draw(self, state: Int[np.ndarray, " N"], goal: Goal) -> Drawing:
        """Draws a state as shapes, for pages; the text of `render`, by default.

        Args:
          state: any tokens in range, also those of a state that cannot be: models imagine such.
          goal: what is to be reached, for domains whose picture shows it.
        """
        return text_drawing(self.render(state))


def actions_of_plan(actions: Int[np.ndarray, " T"]) -> list[int]:
    """Returns the actions of a plan up to the first -1."""
    plan = np.asarray(actions).tolist()
    return plan[: plan.index(-1)] if -1 in plan else plan


def replay(
    env: Env, start: Int[np.ndarray, " N"], actions: Sequence[int]
) -> tuple[list[Int[np.ndarray, " N"]], list[bool]]:
    """Returns the states along a plan on the exact dynamics, and which of its actions are legal where it takes them."""
    step, legal_actions = _compiled_rules(env)
    states, is_legal = [np.asarray(start)], []
    for action in actions:
        is_legal.append(bool(legal_actions(states[-1])[action]))
        states.append(np.asarray(step(states[-1], action)))
    return states, is_legal


@functools.lru_cache(maxsize=16)
def _compiled_rules(env: Env) -> tuple[Callable, Callable]:
    """Returns the dynamics and the legal actions, compiled once for all replays."""
    return jax.jit(env.step), jax.jit(env.legal_actions)


def matches(states: Int[Array, "*#B N"], goal: Goal) -> Bool[Array, "*B"]:
    """Returns which states have every token that a goal fixes."""
    return jnp.all((states == goal.tokens) | ~goal.mask, axis=-1)


def full_goal(tokens: Int[Array, "*B N"]) -> Goal:
    """Returns the goal that fixes every token."""
    return Goal(tokens=tokens, mask=jnp.ones(tokens.shape, bool))
