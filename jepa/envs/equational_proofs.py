"""Equational proofs: rewrite a term by the rules of a theory until it is another term.

A plan from one term to another is a proof that the two are equal in everything that obeys the rules; a finite model
in which they differ is a proof that there is no such plan (`theories.find_countermodel`).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from jepa.drawing import Drawing
from jepa.envs.base import Env, actions_of_plan, full_goal
from jepa.envs.heap_terms import (
    decode_term,
    draw_until,
    invariant_values,
    is_test_term,
    malformed_reason,
    near_misses,
    random_term,
)
from jepa.envs.problem_arrays import states_from_arrays
from jepa.envs.proof_checker import check_proof_of, read_equation
from jepa.envs.proof_search import Rewrites, forward_rewrites, shortest_proofs
from jepa.envs.proof_writer import write_proof
from jepa.envs.term_drawing import draw_term
from jepa.envs.theories import THEORIES, Countermodel, Theory, find_countermodel, write_term
from jepa.types import Goal, Problem

MIN_REWRITES, MAX_REWRITES = 3, 8
"""A test problem is made by that many random rewrites; a shortest proof takes no more."""
DEPTH_RANGE = (3, 5)
"""Fewer levels leave no room for the rules; with more, the terms that an action may have forgotten are too many."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EquationalProofs(Env):
    """Terms of a theory, rewritten one rule at a time; the goal is a given term.

    A state is a term on a binary tree in heap order: token k - 1 is that of slot k, the root is slot 1, the children of
    k are 2k and 2k + 1, and the only argument of a unary symbol is the left child. Token 0 is an empty slot, token
    i + 1 symbol i of the theory; for groups 1 *, 2 ', 3 e, 4 a, 5 b, 6 c, for Boolean algebra 1 &, 2 |, 3 ~, 4 0,
    5 1, 6 a, 7 b, 8 c.

    An action is a rule, a direction and a position. It is legal where the rule's side matches the subterm, the result
    fits into the tree and differs from what was there. Where the new side has a variable that the old one lacks, there
    is an action for each constant a, b, c that it can become. 84 actions for groups of 4 levels, 142 for Boolean
    algebra.

    Rewriting never changes the values of a term in a model of the theory, so these tell training from test: a bit of
    their hash does, the same for all ways to rename a, b and c. No recorded walk ever sees a term of a test problem.
    """

    test_fields: ClassVar[frozenset[str]] = frozenset({"refutable_fraction"})

    theory: str = "groups"
    """A key of `theories.THEORIES`."""
    max_depth: int = 4
    """Levels of the tree; 3 to 5."""
    refutable_fraction: float = 0.0
    """Probability with which a test problem is an equation that is false, to be refuted; in [0, 1]."""

    def __post_init__(self) -> None:
        """Refuses theories that are not there, trees too small or too large, and what is no probability."""
        if self.theory not in THEORIES:
            raise ValueError(f"EquationalProofs.theory must be one of {sorted(THEORIES)}, came {self.theory!r}")
        least, most = DEPTH_RANGE
        if not least <= self.max_depth <= most:
            raise ValueError(f"EquationalProofs.max_depth must lie in {least}..{most}, came {self.max_depth}")
        if not 0 <= self.refutable_fraction <= 1:
            raise ValueError(f"EquationalProofs.refutable_fraction must lie in [0, 1], came {self.refutable_fraction}")

    @property
    def name(self) -> str:
        """Such as `equational_proofs_groups`; with the levels at the end where they are not 4."""
        levels = "" if self.max_depth == 4 else f"_{self.max_depth}"
        return f"equational_proofs_{self.theory}{levels}"

    @property
    def num_tokens(self) -> int:
        """One per slot."""
        return 2**self.max_depth - 1

    @property
    def vocab_size(self) -> int:
        """Nothing, and the symbols."""
        return 1 + len(self._theory.symbols)

    @property
    def action_names(self) -> tuple[str, ...]:
        """Such as `right unit > 2`: the rule from left to right at slot 2; `right inverse < 2 a` brings in an a."""
        return tuple(
            f"{move.rule.name} {'>' if move.is_left_to_right else '<'} {move.position} {move.filling or ''}".strip()
            for move in self._rewrites.moves
        )

    @property
    def is_reversible(self) -> bool:
        """What a rule forgets (x in x * x' = e) comes back in one action only if it was one of a, b, c."""
        return False

    @property
    def _theory(self) -> Theory:
        return THEORIES[self.theory]

    @property
    def _rewrites(self) -> Rewrites:
        return forward_rewrites(self.theory, self.max_depth)

    def step(self, state: Int[Array, " N"], action: Int[Array, ""]) -> Int[Array, " N"]:
        """Rewrites a subterm."""
        pattern = jnp.asarray(self._rewrites.pattern)[action]
        return jnp.where(self._matches(state, pattern), self._rewritten(state, action), state)

    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """Rules that match at their positions, with a result that fits and is new."""
        matches = self._matches(state, jnp.arange(len(self._rewrites.expected)))[self._rewrites.pattern]
        return matches & (self._rewritten(state, jnp.arange(self.num_actions)) != state).any(axis=-1)

    def _matches(self, state: Int[Array, " N"], pattern: Int[Array, "*P"]) -> Bool[Array, "*P"]:
        tables = self._rewrites.expected, self._rewrites.equal_to, self._rewrites.position
        expected, equal_to, position = (jnp.asarray(table)[pattern] for table in tables)
        holds = ((expected < 0) | (state == expected)) & (state == state[equal_to])
        return holds.all(axis=-1) & (state[position] > 0)

    def _rewritten(self, state: Int[Array, " N"], action: Int[Array, "*A"]) -> Int[Array, "*A N"]:
        extended = jnp.concatenate([state, jnp.arange(self.vocab_size, dtype=jnp.int32)])
        return extended[jnp.asarray(self._rewrites.source)[action]]

    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """Draws a term of the training split that can be rewritten."""

        def fits(state):
            return ~self._is_test_term(state) & self.legal_actions(state).any()

        return draw_until(fits, self._random_term, key)

    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws a term of the test split, and another one that some random rewrites, at most 8, make of it.

        In a false equation one constant of that other term has become another one, or two have changed places, so that
        the terms differ in the theory's invariant model: `refutation` finds a reason. Both are of the test split, and
        the true equations are the same ones for all values of `refutable_fraction`.
        """
        is_refutable = jax.random.uniform(jax.random.fold_in(key, 0)) < self.refutable_fraction

        def draw(draw_key):
            problem = self._random_problem(draw_key)
            false_goal = self._false_goal(problem, jax.random.fold_in(draw_key, 0))
            goal = jnp.where(is_refutable, false_goal, problem.goal.tokens)
            return Problem(start=problem.start, goal=full_goal(goal))

        return draw_until(lambda problem: (problem.goal.tokens != problem.start).any(), draw, key)

    def _false_goal(self, problem: Problem, key: Key[Array, ""]) -> Int[Array, " N"]:
        """Draws one of the near misses of the goal that make an equation false; the start where there is none."""
        start, goal = problem.start, problem.goal.tokens
        values, goals = invariant_values(self.theory, start), near_misses(self._theory, goal)

        def is_false(other):
            return (invariant_values(self.theory, other) != values).any() & self._is_test_term(other)

        possible = jax.lax.map(is_false, goals)  # one after the other: of all together the values take gigabytes
        chosen = goals[jnp.argmax(jnp.where(possible, jax.random.uniform(key, possible.shape), -1.0))]
        return jnp.where(possible.any() & (goal != start).any(), chosen, start)

    def _random_term(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        return random_term(self._theory, self.max_depth, key)

    def _is_test_term(self, state: Int[Array, " N"]) -> Bool[Array, ""]:
        return is_test_term(self.theory, state)

    def _random_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws a term of the test split and rewrites it at random, up to 8 times and never back to where it was."""
        term_key, length_key, walk_key = jax.random.split(key, 3)
        start = draw_until(self._is_test_term, self._random_term, term_key)
        length = jax.random.randint(length_key, (), MIN_REWRITES, MAX_REWRITES + 1)
        visited = jnp.full((MAX_REWRITES + 1, self.num_tokens), -1, jnp.int32).at[0].set(start)
        keys = jax.random.split(walk_key, MAX_REWRITES)

        def rewrite(visited, inputs):
            time, key = inputs
            state = visited[time]
            successors = self._rewritten(state, jnp.arange(self.num_actions))
            fresh = self.legal_actions(state) & ~(successors[:, None] == visited).all(axis=-1).any(axis=-1)
            action = jax.random.categorical(key, jnp.log(fresh) - jnp.log(self._num_alike(fresh)))
            state = jnp.where((time < length) & fresh.any(), successors[action], state)
            return visited.at[time + 1].set(state), None

        visited, _ = jax.lax.scan(rewrite, visited, (jnp.arange(MAX_REWRITES), keys))
        return Problem(start=start, goal=full_goal(visited[-1]))

    def _num_alike(self, actions: Bool[Array, " A"]) -> Int[Array, " A"]:
        """Returns how many of the actions use the rule of each action, at least 1.

        Positions are many for the units and few for the rules that say most, so walks draw a rule first.
        """
        rules = [f"{move.rule.name} {move.is_left_to_right}" for move in self._rewrites.moves]
        _, group = np.unique(rules, return_inverse=True)
        return jnp.maximum(jnp.zeros(group.max() + 1, jnp.int32).at[group].add(actions), 1)[group]

    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """Returns the length of a shortest proof; 0 where start and goal are the same.

        -1 where there is none: start and goal differ in a model, or every way leads through terms that do not fit into
        the tree. Also where the search is given up (see `proof_search.MAX_NODES`), and where the start or the goal is
        not a term or the goal leaves a slot open.
        """
        starts, goals = np.asarray(problems.start), np.asarray(problems.goal.tokens)
        lengths = np.full(len(starts), -1)
        known = np.asarray(problems.goal.mask).all(axis=1)
        for goal in np.unique(goals[known], axis=0):
            chosen = known & (goals == goal).all(axis=1)
            unique, inverse = np.unique(starts[chosen], axis=0, return_inverse=True)
            plausible = [i for i, start in enumerate(unique) if self._is_plausible(start, goal)]
            found = np.full(len(unique), -1)
            found[plausible] = shortest_proofs(self.theory, self.max_depth, unique[plausible], goal)
            lengths[chosen] = found[inverse.ravel()]
        return lengths

    def _is_plausible(self, start: Int[np.ndarray, " N"], goal: Int[np.ndarray, " N"]) -> bool:
        """Whether both are terms and no model says that they differ."""
        are_terms = self.invalid_reason(start) is None and self.invalid_reason(goal) is None
        return are_terms and self._countermodel(start, goal) is None

    def _countermodel(self, start: Int[np.ndarray, " N"], goal: Int[np.ndarray, " N"]) -> Countermodel | None:
        return find_countermodel(self._theory, *(decode_term(self._theory, state) for state in (start, goal)))

    def refutation(self, problem: Problem) -> str | None:
        """Gives a finite model and values of the constants for which the two terms differ.

        Such as `a * b = b * a is false in S3 with a = 132, b = 213: 312 and 231`: the elements of Z2 to Z5 are numbers
        modulo 2 to 5, those of S3 and A4 permutations, written as the images of 1, 2, ..., where p * q is q, then p.

        None where the terms agree in all models of the theory, and where a goal leaves a slot open.
        """
        start, goal = np.asarray(problem.start), np.asarray(problem.goal.tokens)
        found = self._countermodel(start, goal) if np.asarray(problem.goal.mask).all() else None
        return None if found is None else f"{self.render(start)} = {self.render(goal)} is false {found}"

    def written_plan(self, problem: Problem, actions: Int[np.ndarray, " T"]) -> list[str]:
        """Writes a proof as `proof_checker.check_proof` reads it: the theorem, the first term, a line per rewrite.

        Raises:
          ValueError: the plan is no proof; the message says where it fails.
        """
        plan, states = actions_of_plan(actions), [np.asarray(problem.start)]
        step, legal_actions = jax.jit(self.step), jax.jit(self.legal_actions)
        for number, action in enumerate(plan):
            if not (0 <= action < self.num_actions and legal_actions(states[-1])[action]):
                term = self.render(states[-1])
                raise ValueError(f"expected legal actions, came {action} as action {number}, on {term}")
            states.append(np.asarray(step(states[-1], action)))
        last, goal = (self.render(np.asarray(state)) for state in (states[-1], problem.goal.tokens))
        if last != goal:
            raise ValueError(f"expected a plan that ends at {goal}, came one that ends at {last}")
        moves = [self._rewrites.moves[action] for action in plan]
        return write_proof(self._theory, [self.render(state) for state in states], moves)

    @property
    def plan_checker(self) -> Callable[[Problem, Sequence[str]], str | None]:
        """`proof_checker.check_proof_of`, for the terms of a problem."""
        return lambda problem, lines: check_proof_of(
            self.theory, lines, np.asarray(problem.start).tolist(), np.asarray(problem.goal.tokens).tolist()
        )

    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """Says what is wrong with a state: a symbol without its arguments, or a slot that is nobody's argument."""
        if state.shape != (self.num_tokens,):
            return f"expected {self.num_tokens} slots, came shape {list(state.shape)}"
        return malformed_reason(self._theory, state)

    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """Builds problems, false equations among them, from `start` and `goal` [B, N], terms as `encode_term` has them.

        Raises:
          ValueError: an array is missing or wrong, or something is not a term; the message names the problem.
        """
        starts, goals = (states_from_arrays(self, arrays, name) for name in ("start", "goal"))
        if len(goals) != len(starts):
            raise ValueError(f"expected one goal per problem, came {len(goals)} goals for {len(starts)} problems")
        return Problem(start=starts, goal=full_goal(goals))

    def arrays_from_text(self, text: str) -> Mapping[str, np.ndarray]:
        """See base class: an equation, such as `(a * b)' = b' * a'`."""
        left, right = read_equation(self.theory, text, self.num_tokens)
        return {"start": np.array([left]), "goal": np.array([right])}

    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Writes the term in infix notation, such as `(a * b)' * c`."""
        return write_term(self._theory, decode_term(self._theory, np.asarray(state)))

    def draw(self, state: Int[np.ndarray, " N"], goal: Goal) -> Drawing:
        """See base class: the tree of the term, and beneath it the term as it is written."""
        return draw_term(self._theory, np.asarray(state), "" if self.invalid_reason(state) else self.render(state))
