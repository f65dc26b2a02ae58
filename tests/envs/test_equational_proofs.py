import collections
import dataclasses
import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.envs.base import full_goal
from jepa.envs.equational_proofs import EquationalProofs
from jepa.envs.heap_terms import (
    decode_term,
    encode_term,
    invariant_values,
    is_test_term,
    near_misses,
    random_term,
)
from jepa.envs.proof_checker import ALPHABETS, RULES, check_proof, check_proof_of, parse
from jepa.envs.proof_search import backward_rewrites, forward_rewrites, neighbours, shortest_proofs
from jepa.envs.theories import THEORIES, find_countermodel
from jepa.types import Problem

THEORY_NAMES = ("groups", "boolean_algebra")
ENVS = {name: EquationalProofs(theory=name) for name in THEORY_NAMES}
GROUPS, BOOLEAN = ENVS.values()
HALF_FALSE = {name: dataclasses.replace(env, refutable_fraction=0.5) for name, env in ENVS.items()}
ONE_WAY = {"commutativity of and", "commutativity of or", "absorption by and", "absorption by or"}

every_theory = pytest.mark.parametrize("theory", THEORY_NAMES)
# For tests that take seconds with each.
one_theory = pytest.mark.parametrize("theory", [THEORY_NAMES[0], pytest.param(THEORY_NAMES[1], marks=pytest.mark.slow)])


# --- A second implementation of the rules, on nested tuples, from the text of the rules.


@functools.cache
def read(theory: str, text: str):
    return parse(text, ALPHABETS[theory] + "xyz")


def tokens(env: EquationalProofs, text: str) -> np.ndarray:
    return encode_term(THEORIES[env.theory], env.max_depth, read(env.theory, text))


def depth(term) -> int:
    return 1 if isinstance(term, str) else 1 + max(map(depth, term[1:]))


def instances(pattern, term, values: dict) -> dict | None:
    if isinstance(pattern, str) and pattern in "xyz":
        return {**values, pattern: term} if values.get(pattern, term) == term else None
    if isinstance(pattern, str) or isinstance(term, str):
        return values if pattern == term else None
    if pattern[0] != term[0]:
        return None
    for part, argument in zip(pattern[1:], term[1:], strict=True):
        values = instances(part, argument, values)
        if values is None:
            return None
    return values


def instantiate(pattern, values: dict):
    if isinstance(pattern, str):
        return values.get(pattern, pattern)
    return (pattern[0], *(instantiate(part, values) for part in pattern[1:]))


def leaves(term) -> set[str]:
    return {term} if isinstance(term, str) else set.union(*map(leaves, term[1:]))


def places(term, position: int = 1):
    yield position, term
    if not isinstance(term, str):
        for side, argument in enumerate(term[1:]):
            yield from places(argument, 2 * position + side)


def replaced(term, position: int, new, here: int = 1):
    if here == position:
        return new
    if isinstance(term, str):
        return term
    return (term[0], *(replaced(part, position, new, 2 * here + side) for side, part in enumerate(term[1:])))


@functools.cache
def rewrites_of(theory: str, term, max_depth: int) -> dict:
    """(rule, from left to right, position, filling) -> term."""
    found = {}
    for rule, equation in RULES[theory].items():
        left, right = (read(theory, side) for side in equation.split("="))
        for is_forward, before, after in ((True, left, right), (False, right, left)):
            if not is_forward and rule in ONE_WAY:
                continue
            for position, part in places(term):
                values = instances(before, part, {})
                if values is None:
                    continue
                unknown = sorted(leaves(after) & set("xyz") - set(values))
                for filling in "abc" if unknown else (None,):
                    filled = {**values, **dict.fromkeys(unknown, filling)}
                    result = replaced(term, position, instantiate(after, filled))
                    if depth(result) <= max_depth and result != term:
                        found[rule, is_forward, position, filling] = result
    return found


def distances_from(theory: str, start, max_depth: int, limit: int = 99) -> dict:
    distances, queue = {start: 0}, collections.deque([start])
    while queue:
        term = queue.popleft()
        if distances[term] == limit:
            break
        for successor in rewrites_of(theory, term, max_depth).values():
            if successor not in distances:
                distances[successor] = distances[term] + 1
                queue.append(successor)
    return distances


def reduced_word(term) -> list[str]:
    """The element of the free group on a, b, c; a capital letter is an inverse."""
    if isinstance(term, str):
        return [] if term == "e" else [term]
    if term[0] == "'":
        return [letter.swapcase() for letter in reversed(reduced_word(term[1]))]
    word = []
    for letter in reduced_word(term[1]) + reduced_word(term[2]):
        if word and word[-1] == letter.swapcase():
            word.pop()
        else:
            word.append(letter)
    return word


def truth_table(term) -> list[int]:
    def value(part, given):
        if isinstance(part, str):
            return given[part]
        arguments = [value(argument, given) for argument in part[1:]]
        return {"&": min, "|": max, "~": lambda values: 1 - values[0]}[part[0]](arguments)

    return [value(term, {"0": 0, "1": 1, "a": a, "b": b, "c": c}) for a, b, c in itertools.product((0, 1), repeat=3)]


# --- What the tests look at.


@functools.cache
def sampled(theory: str) -> Problem:
    return jax.device_get(jax.jit(jax.vmap(ENVS[theory].sample_problem))(jax.random.split(jax.random.key(1), 200)))


@functools.cache
def compiled(env: EquationalProofs):
    """The legal actions, and the successors by all actions, of one state."""
    return jax.jit(env.legal_actions), jax.jit(jax.vmap(env.step, in_axes=(None, 0)))


@functools.cache
def kept_for_tests(theory: str):
    return jax.jit(jax.vmap(functools.partial(is_test_term, theory)))


@functools.cache
def walks(theory: str):
    return collect_walks(ENVS[theory], RandomWalks(walk_length=12), 12 * 40, seed=0)


def decoded(theory: str, states) -> list:
    return [decode_term(THEORIES[theory], state) for state in np.asarray(states)]


@functools.cache
def random_terms(theory: str, max_depth: int = 4, num_terms: int = 400) -> np.ndarray:
    draw = functools.partial(random_term, THEORIES[theory], max_depth)
    return np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(2), num_terms)))


def problem(env: EquationalProofs, start: str, goal: str) -> Problem:
    return Problem(start=jnp.asarray(tokens(env, start)), goal=full_goal(jnp.asarray(tokens(env, goal))))


def batch(*problems: Problem) -> Problem:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)


# --- Dynamics.


def test_sizes():
    assert (GROUPS.num_tokens, GROUPS.vocab_size, GROUPS.num_actions) == (15, 7, 84)
    assert (BOOLEAN.num_tokens, BOOLEAN.vocab_size, BOOLEAN.num_actions) == (15, 9, 142)
    assert not GROUPS.is_reversible
    assert EquationalProofs(theory="groups", max_depth=5).name == "equational_proofs_groups_5"
    assert {"right unit > 2", "right inverse < 2 a", "right inverse > 2"} <= set(GROUPS.action_names)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"theory": "rings"}, r"theory must be one of \['boolean_algebra', 'groups'\], came 'rings'"),
        ({"max_depth": 2}, r"max_depth must lie in 3\.\.5, came 2"),
        ({"max_depth": 6}, r"max_depth must lie in 3\.\.5, came 6"),
        ({"refutable_fraction": -0.1}, r"refutable_fraction must lie in \[0, 1\], came -0\.1"),
        ({"refutable_fraction": 1.5}, r"refutable_fraction must lie in \[0, 1\], came 1\.5"),
    ],
)
def test_other_theories_and_depths_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(GROUPS, **changes)


@pytest.mark.parametrize(
    ("env", "action", "start", "goal"),
    [
        (GROUPS, "associativity > 1", "(a * b') * c", "a * (b' * c)"),
        (GROUPS, "associativity < 3", "a * (b * (c * a))", "a * ((b * c) * a)"),
        (GROUPS, "right inverse > 1", "(a * b) * (a * b)'", "e"),
        (GROUPS, "right inverse > 1", "(a * b) * (b * a)'", None),
        (GROUPS, "left inverse < 2 c", "e * b", "(c' * c) * b"),
        (GROUPS, "right unit < 4", "(a * b) * c", "((a * e) * b) * c"),
        (GROUPS, "associativity > 1", "(a * b) * (c * (a * b))", None),
        (GROUPS, "inverse of a product > 1", "(a * b')'", "b'' * a'"),
        (BOOLEAN, "commutativity of and > 2", "(a & ~b) | c", "(~b & a) | c"),
        (BOOLEAN, "commutativity of and > 1", "(a | b) & (a | b)", None),
        (BOOLEAN, "distributivity of and > 1", "a & (b | ~c)", "(a & b) | (a & ~c)"),
        (BOOLEAN, "distributivity of and < 1", "(~a & b) | (~a & c)", "~a & (b | c)"),
        (BOOLEAN, "distributivity of and < 1", "(a & b) | (~a & c)", None),
        (BOOLEAN, "absorption by and > 1", "a & (a | (b & c))", "a"),
        (BOOLEAN, "negation of or < 1", "~a & ~(b & c)", "~(a | (b & c))"),
        (BOOLEAN, "complement under or < 2 b", "1 & c", "(b | ~b) & c"),
    ],
)
def test_rewriting_by_hand(env, action, start, goal):
    number = env.action_names.index(action)
    state = jnp.asarray(tokens(env, start))
    legal_actions, step = compiled(env)
    assert bool(legal_actions(state)[number]) == (goal is not None)
    assert (np.asarray(step(state, jnp.arange(env.num_actions)))[number] == tokens(env, goal or start)).all()


@pytest.mark.parametrize(("theory", "max_depth"), [("groups", 3), ("groups", 4), ("boolean_algebra", 4)])
def test_actions_are_those_of_the_second_implementation(theory, max_depth):
    env = EquationalProofs(theory=theory, max_depth=max_depth)
    states = random_terms(theory, max_depth)[:100]
    if max_depth == 4:
        states = np.concatenate([states, walks(theory).states[:6].reshape(-1, env.num_tokens)])
    legal = np.asarray(jax.jit(jax.vmap(env.legal_actions))(states))
    step = jax.jit(jax.vmap(jax.vmap(env.step, in_axes=(None, 0)), in_axes=(0, None)))
    successors = np.asarray(step(states, jnp.arange(env.num_actions)))
    moves = forward_rewrites(theory, max_depth).moves
    for term, mask, after in zip(decoded(theory, states), legal, successors, strict=True):
        came = {
            (moves[i].rule.name, moves[i].is_left_to_right, moves[i].position, moves[i].filling): result
            for i, result in zip(np.flatnonzero(mask).tolist(), decoded(theory, after[mask]), strict=True)
        }
        assert came == rewrites_of(theory, term, max_depth)
    changed = (successors != states[:, None]).any(axis=-1)
    assert (changed == legal).all()
    assert legal.any(axis=0).sum() > 0.6 * env.num_actions


@every_theory
def test_walks_get_somewhere(theory):
    trajectories = walks(theory)
    assert trajectories.legal_actions.any(axis=-1).all()
    distinct = [len(np.unique(states, axis=0)) for states in trajectories.states]
    assert np.mean(distinct) > 8  # of 13


# --- Problems and the split.


@one_theory
def test_training_and_test_terms_are_disjoint(theory):
    env, problems = ENVS[theory], sampled(theory)
    is_test = kept_for_tests(theory)
    assert not is_test(walks(theory).states.reshape(-1, env.num_tokens)).any()
    assert is_test(problems.start).all() and is_test(problems.goal.tokens).all()
    assert 0.2 < is_test(random_terms(theory)).mean() < 0.8


@every_theory
def test_the_split_does_not_depend_on_names_of_constants(theory):
    states, first = random_terms(theory), ENVS[theory].vocab_size - 3
    is_test = kept_for_tests(theory)
    for order in itertools.permutations(range(3)):
        renaming = np.concatenate([np.arange(first), first + np.array(order)]).astype(np.int32)
        assert (is_test(renaming[states]) == is_test(states)).all()


def test_invariant_values_of_boolean_terms_are_truth_tables():
    states = random_terms("boolean_algebra")[:200]
    values = jax.jit(jax.vmap(functools.partial(invariant_values, "boolean_algebra")))(states)
    assert values.tolist() == [truth_table(term) for term in decoded("boolean_algebra", states)]


@every_theory
def test_problems_are_theorems_of_some_length(theory):
    problems = sampled(theory)
    starts, goals = decoded(theory, problems.start), decoded(theory, problems.goal.tokens)
    meaning = reduced_word if theory == "groups" else truth_table
    assert [meaning(start) for start in starts] == [meaning(goal) for goal in goals]
    lengths = ENVS[theory].optimal_lengths(problems)
    assert lengths.min() >= 1 and lengths.max() <= 8
    assert lengths.mean() > 2.5 and len(np.unique(lengths)) > 4
    assert len(set(zip(starts, goals, strict=True))) > 150


@functools.cache
def half_false(theory: str) -> Problem:
    return jax.device_get(
        jax.jit(jax.vmap(HALF_FALSE[theory].sample_problem))(jax.random.split(jax.random.key(1), 200))
    )


def holds(theory: str, start, goal) -> bool:
    """Whether an equation is true in all models: by normal forms in the free group, by truth tables."""
    meaning = reduced_word if theory == "groups" else truth_table
    return meaning(start) == meaning(goal)


def sides_of(theory: str, problems: Problem) -> list[tuple]:
    starts, goals = decoded(theory, problems.start), decoded(theory, problems.goal.tokens)
    return list(zip(starts, goals, strict=True))


@one_theory
def test_a_share_of_the_problems_is_false_and_refuted(theory):
    env, problems = HALF_FALSE[theory], half_false(theory)
    is_true = np.array([holds(theory, *sides) for sides in sides_of(theory, problems)])
    assert 70 <= is_true.sum() <= 130  # of 200, four standard deviations
    reasons = [env.refutation(jax.tree.map(lambda leaf, i=i: leaf[i], problems)) for i in range(200)]
    assert [reason is None for reason in reasons] == is_true.tolist()
    few = jax.tree.map(lambda leaf: leaf[~is_true][:25], problems)
    assert (env.optimal_lengths(few) == -1).all()
    # The true ones are those that are drawn without false ones.
    for drawn, other in zip(jax.tree.leaves(problems), jax.tree.leaves(sampled(theory)), strict=True):
        assert (np.asarray(drawn)[is_true] == np.asarray(other)[is_true]).all()


def is_near_miss(env: EquationalProofs, term: np.ndarray, other: np.ndarray) -> bool:
    """Whether one constant is another one, or two different ones have changed places."""
    changed, first = np.flatnonzero(term != other), env.vocab_size - 3
    are_constants = (term[changed] >= first).all() and (other[changed] >= first).all()
    is_exchanged = len(changed) == 2 and (term[changed] == other[changed[::-1]]).all()
    return bool(are_constants and (len(changed) == 1 or is_exchanged))


@one_theory
def test_false_equations_are_near_misses_of_true_ones(theory):
    """Those of which no near miss is false, and in the test split, are drawn anew."""
    env = dataclasses.replace(ENVS[theory], refutable_fraction=1.0)
    problems = jax.jit(jax.vmap(env.sample_problem))(jax.random.split(jax.random.key(1), 200))
    assert not any(holds(theory, *sides) for sides in sides_of(theory, problems))
    goals, true_goals = np.asarray(problems.goal.tokens), np.asarray(sampled(theory).goal.tokens)
    is_test = kept_for_tests(theory)
    assert is_test(problems.start).all() and is_test(goals).all()
    same = (np.asarray(problems.start) == np.asarray(sampled(theory).start)).all(axis=1)
    assert same.mean() > (0.9 if theory == "groups" else 0.5)
    assert all(is_near_miss(env, *pair) for pair in zip(true_goals[same], goals[same], strict=True))
    num_changed = (goals[same] != true_goals[same]).sum(axis=1)
    assert 0.1 < (num_changed == 2).mean() < 0.9


@every_theory
def test_near_misses_are_those_of_a_plain_loop(theory):
    env = ENVS[theory]
    for term in random_terms(theory)[:20]:
        came = {tuple(row) for row in np.asarray(near_misses(THEORIES[theory], jnp.asarray(term))).tolist()}
        expected, places = {tuple(term.tolist())}, np.flatnonzero(term >= env.vocab_size - 3)
        for constants in itertools.product(range(env.vocab_size - 3, env.vocab_size), repeat=len(places)):
            other = term.copy()
            other[places] = constants
            expected |= {tuple(other.tolist())} if is_near_miss(env, term, other) else set()
        assert came | {tuple(term.tolist())} == expected


# --- Theories and models.


@every_theory
def test_the_two_tables_of_rules_agree(theory):
    rules = THEORIES[theory].rules
    assert {rule.name: (rule.left, rule.right) for rule in rules} == {
        name: tuple(read(theory, side) for side in equation.split("=")) for name, equation in RULES[theory].items()
    }
    assert {rule.name for rule in rules if not rule.is_two_way} == ONE_WAY & {rule.name for rule in rules}


def value_in(model, term, given: dict) -> int:
    if isinstance(term, str):
        return given[term] if term in given else int(model.operations[term])
    return int(model.operations[term[0]][tuple(value_in(model, part, given) for part in term[1:])])


@every_theory
def test_every_rule_holds_in_every_model(theory):
    for model, equation in itertools.product(THEORIES[theory].models, RULES[theory].values()):
        left, right = (read(theory, side) for side in equation.split("="))
        names = sorted((leaves(left) | leaves(right)) & set("xyz"))
        for values in itertools.product(range(len(model.elements)), repeat=len(names)):
            given = dict(zip(names, values, strict=True))
            assert value_in(model, left, given) == value_in(model, right, given), (model.name, equation)


@pytest.mark.parametrize(
    ("theory", "left", "right", "model"),
    [
        ("groups", "a", "e", "Z2"),
        ("groups", "a * a", "e", "Z3"),
        ("groups", "((a * a) * (a * a)) * (a * a)", "e", "Z4"),
        ("groups", "a * b", "b * a", "S3"),
        ("groups", "(a * b)'", "a' * b'", "S3"),
        ("groups", "(a * a) * (b * b)", "(b * b) * (a * a)", "A4"),
        ("groups", "(a * b)'", "b' * a'", None),
        ("groups", "(x * y) * z", "y * (x * z)", "S3"),
        ("boolean_algebra", "a & b", "a | b", "the algebra of 0 and 1"),
        ("boolean_algebra", "0", "1", "the algebra of 0 and 1"),
        ("boolean_algebra", "(a & b) | (~a & c)", "((a & b) | (~a & c)) | (b & c)", None),
    ],
)
def test_countermodels_of_known_equations(theory, left, right, model):
    sides = read(theory, left), read(theory, right)
    found = find_countermodel(THEORIES[theory], *sides)
    assert (found and found.model.name) == model
    if found is not None:
        given = {name: found.model.elements.index(element) for name, element in found.assignment.items()}
        values = [found.model.elements[value_in(found.model, side, given)] for side in sides]
        assert tuple(values) == found.values and values[0] != values[1]


def test_countermodels_as_text():
    theory = THEORIES["boolean_algebra"]
    assert (
        str(find_countermodel(theory, ("&", "a", "b"), "a")) == "in the algebra of 0 and 1 with a = 1, b = 0: 0 and 1"
    )
    assert str(find_countermodel(theory, "0", ("~", "0"))) == "in the algebra of 0 and 1: 0 and 1"


def evaluated_by_hand(model: str, term, given: dict):
    """The value of a term in a model, from nothing but the model's name and the names of elements."""
    if isinstance(term, str) and term in given:
        return given[term]
    if model == "the algebra of 0 and 1":
        arguments = [] if isinstance(term, str) else [evaluated_by_hand(model, part, given) for part in term[1:]]
        operations = {"0": lambda: "0", "1": lambda: "1", "~": lambda x: "10"[int(x)], "&": min, "|": max}
        return operations[term[0]](*arguments)
    size = int(model[1:])
    unit = "0" if model[0] == "Z" else "1234"[:size]
    if term == "e":
        return unit
    arguments = [evaluated_by_hand(model, part, given) for part in term[1:]]
    if model[0] == "Z":
        return str((sum(map(int, arguments)) if term[0] == "*" else -int(arguments[0])) % size)
    if term[0] == "*":  # permutations as the images of 1, 2, ...; the right one first
        return "".join(arguments[0][int(image) - 1] for image in arguments[1])
    return "".join(str(arguments[0].index(image) + 1) for image in unit)


@every_theory
def test_a_refutation_can_be_followed_by_hand(theory):
    """Every refutation is read as text and evaluated again, by an implementation of each model without tables."""
    env, problems = HALF_FALSE[theory], half_false(theory)
    models = set()
    for index, (left, right) in enumerate(sides_of(theory, problems)):
        text = env.refutation(jax.tree.map(lambda leaf, i=index: leaf[i], problems))
        if text is None:
            continue
        pattern = r"(.+) = (.+) is false in ([^:]+?)(?: with ([^:]+))?: (\S+) and (\S+)"
        start, goal, model, values, *came = re.fullmatch(pattern, text).groups()
        assert (read(theory, start), read(theory, goal)) == (left, right)
        given = dict(value.split(" = ") for value in values.split(", ")) if values else {}
        expected = [evaluated_by_hand(model, side, given) for side in (left, right)]
        assert came == expected and came[0] != came[1]
        models.add(model)
    assert len(models) >= (2 if theory == "groups" else 1)


def test_refutations_of_known_equations():
    false = problem(GROUPS, "a * b", "b * a")
    assert GROUPS.refutation(false) == "a * b = b * a is false in S3 with a = 132, b = 213: 312 and 231"
    assert GROUPS.refutation(problem(GROUPS, "(a * b)'", "b' * a'")) is None
    masked = dataclasses.replace(false, goal=dataclasses.replace(false.goal, mask=false.goal.mask.at[4].set(False)))
    assert GROUPS.refutation(masked) is None


def test_the_algebra_of_two_elements_is_complete():
    terms = decoded("boolean_algebra", random_terms("boolean_algebra")[:200])
    equal = [truth_table(left) == truth_table(right) for left, right in itertools.pairwise(terms)]
    found = [find_countermodel(THEORIES["boolean_algebra"], *pair) for pair in itertools.pairwise(terms)]
    assert [countermodel is None for countermodel in found] == equal
    assert 0 < sum(equal) < len(equal)


# --- Shortest proofs.


@every_theory
def test_backward_rewrites_undo_the_actions_and_nothing_else(theory):
    forward, backward = forward_rewrites(theory, 4), backward_rewrites(theory, 4)

    def around(rewrites, state):
        return {row.tobytes() for row in neighbours(rewrites, np.frombuffer(state, np.uint8)[None])} - {state}

    states = [state.tobytes() for state in random_terms(theory)[:6].astype(np.uint8)]
    for state in states:
        assert all(state in around(backward, after) for after in around(forward, state))
        assert all(state in around(forward, before) for before in around(backward, state))
    assert any(around(backward, state) - around(forward, state) for state in states)


@every_theory
def test_optimal_lengths_are_those_of_a_plain_search(theory):
    env = EquationalProofs(theory=theory, max_depth=3)
    for text in {"groups": ("a''", "e"), "boolean_algebra": ("a", "1")}[theory]:
        start = tokens(env, text)
        distances = distances_from(theory, read(theory, text), 3)
        reached = list(distances)[:: max(1, len(distances) // 60)]
        goals = np.stack([encode_term(THEORIES[theory], 3, term) for term in reached])
        problems = Problem(start=jnp.tile(start, (len(goals), 1)), goal=full_goal(jnp.asarray(goals)))
        assert env.optimal_lengths(problems).tolist() == [distances[term] for term in reached]
        assert max(distances.values()) > 2


def test_the_other_way_a_proof_can_be_longer():
    there, back = problem(GROUPS, "a' * a''", "e"), problem(GROUPS, "e", "a' * a''")
    # Back by the left inverse of a, and a double inverse.
    assert GROUPS.optimal_lengths(batch(there, back)).tolist() == [1, 2]


def test_a_proof_must_fit_into_the_tree():
    small = EquationalProofs(theory="groups", max_depth=3)
    assert not small.legal_actions(jnp.asarray(tokens(small, "(a * b) * b'"))).any()
    assert small.optimal_lengths(batch(problem(small, "(a * b) * b'", "a"))).tolist() == [-1]
    assert GROUPS.optimal_lengths(batch(problem(GROUPS, "(a * b) * b'", "a"))).tolist() == [3]


KNOWN_THEOREMS = [  # lengths by hand: each proof is written behind its theorem
    (GROUPS, "(a * b) * b'", "a", 3),  # associativity, right inverse, right unit
    (GROUPS, "(a' * b)'", "b' * a", 2),  # inverse of a product, double inverse
    (GROUPS, "a * (a' * b)", "b", 3),  # associativity, right inverse, left unit
    (GROUPS, "(e * a)''", "a", 2),
    (BOOLEAN, "~(~a & ~b)", "a | b", 2),  # negation of or from right to left, double negation
    (BOOLEAN, "(a & b) | (a & ~b)", "a", 3),  # distributivity, complement, unit
    (BOOLEAN, "a & (b & ~b)", "a & 0", 1),
    (BOOLEAN, "a | (~a & b)", "a | b", 4),  # distributivity, complement, commutativity, unit
]


@pytest.mark.parametrize(("env", "left", "right", "length"), KNOWN_THEOREMS)
def test_known_theorems(env, left, right, length):
    posed = problem(env, left, right)
    assert env.optimal_lengths(batch(posed)).tolist() == [length]
    assert check_proof(env.theory, env.written_plan(posed, shortest_plan(env, posed))) is None


def test_lengths_are_unknown_where_there_is_no_proof():
    false = problem(GROUPS, "a * b", "b * a")
    start = problem(GROUPS, "a * b", "a * b")
    malformed = dataclasses.replace(start, start=start.start.at[2].set(0))
    masked = dataclasses.replace(start, goal=dataclasses.replace(start.goal, mask=start.goal.mask.at[4].set(False)))
    assert GROUPS.optimal_lengths(batch(false, malformed, masked, start)).tolist() == [-1, -1, -1, 0]


def test_the_search_gives_up():
    posed = problem(GROUPS, "(a * b) * b'", "a")
    arguments = ("groups", 4, np.asarray(posed.start)[None], np.asarray(posed.goal.tokens))
    assert shortest_proofs(*arguments).tolist() == [3]
    assert shortest_proofs(*arguments, max_nodes=5).tolist() == [-1]


# --- Written proofs.


def shortest_plan(env: EquationalProofs, posed: Problem) -> list[int]:
    states, plan = np.asarray(posed.start)[None], []
    _, step = compiled(env)
    length = env.optimal_lengths(batch(posed))[0]
    while len(plan) < length:
        successors = step(states[0], jnp.arange(env.num_actions))
        goals = jax.tree.map(lambda leaf: jnp.tile(leaf, (env.num_actions, 1)), posed.goal)
        lengths = env.optimal_lengths(Problem(start=successors, goal=goals))
        plan.append(int(np.argmax(lengths == length - len(plan) - 1)))
        states = np.asarray(successors)[plan[-1] :]
    return np.array([*plan, -1])


def test_a_proof_as_text():
    posed = problem(GROUPS, "(a * b) * b'", "a")
    assert GROUPS.written_plan(posed, shortest_plan(GROUPS, posed)) == [
        "Theorem of groups: (a * b) * b' = a",
        "  (a * b) * b'",
        "= a * (b * b')  by associativity, left to right, at root",
        "= a * e         by right inverse, left to right, at R",
        "= a             by right unit, left to right, at root",
    ]


@every_theory
def test_every_walk_is_a_proof(theory):
    env, trajectories = ENVS[theory], walks(theory)
    for actions, states in zip(trajectories.actions[:4], trajectories.states[:4], strict=True):
        walked = Problem(start=jnp.asarray(states[0]), goal=full_goal(jnp.asarray(states[-1])))
        lines = env.written_plan(walked, actions)
        assert len(lines) == len(actions) + 2 and check_proof(theory, lines) is None


@every_theory
def test_the_checker_and_the_dynamics_agree_on_every_step(theory):
    """For pairs of a term and what an action makes of it: all rules at all positions, right or wrong."""
    env, rules = ENVS[theory], THEORIES[theory].rules
    accepted = 0
    for term in decoded(theory, walks(theory).states[:3, ::4].reshape(-1, env.num_tokens)):
        possible = rewrites_of(theory, term, env.max_depth)
        result = sorted(possible.values(), key=str)[len(possible) // 2]
        left, right = (env.render(encode_term(THEORIES[theory], 4, side)) for side in (term, result))
        right_steps = {key[:3] for key, after in possible.items() if after == result}
        for rule, is_forward, (position, _) in itertools.product(rules, (True, False), places(term)):
            if not (is_forward or rule.is_two_way):
                continue
            way = "".join("LR"[int(bit)] for bit in f"{position:b}"[1:]) or "root"
            direction = "left to right" if is_forward else "right to left"
            step = f"= {right}  by {rule.name}, {direction}, at {way}"
            verdict = check_proof(theory, [f"Theorem of {theory}: {left} = {right}", f"  {left}", step])
            assert (verdict is None) == ((rule.name, is_forward, position) in right_steps), (step, verdict)
            accepted += verdict is None
    assert accepted >= 12  # one for each of the 12 terms at least


PROOF = [
    "Theorem of groups: (a * b) * b' = a",
    "  (a * b) * b'",
    "= a * (b * b')  by associativity, left to right, at root",
    "= a * e         by right inverse, left to right, at R",
    "= a             by right unit, left to right, at root",
]


@pytest.mark.parametrize(
    ("number", "line", "reason"),
    [
        (1, "Theorem of groups: (a * b) * b' = b", "line 5: expected the right side of the theorem, b,"),
        (1, "Theorem of rings: a = a", "line 1: expected `Theorem of groups: TERM = TERM`"),
        (2, "  (a * b) * b", "line 2: expected the left side of the theorem"),
        (
            3,
            "= a * (b' * b)  by associativity, left to right, at root",
            "line 3: associativity, left to right, at root",
        ),
        (3, "= a * (b * b')  by associativity, right to left, at root", "line 3: associativity, right to left, does"),
        (3, "= a * (b * b')  by commutativity, left to right, at root", "line 3: groups has no rule commutativity"),
        (3, "= a * (b * b')  by associativity, left to right, at L", "line 3: something has changed that is not at L"),
        (3, "= a * (b * b')  by associativity, left to right, at RLL", "line 3: something has changed"),
        (3, "= a * (b * b')  by magic", "line 3: expected `= TERM  by RULE, DIRECTION, at WAY`, came"),
        (4, "= b * e         by right inverse, left to right, at R", "line 4: something has changed that is not at R"),
        (4, "= a * e         by left inverse, left to right, at R", "line 4: left inverse, left to right, does not"),
        (4, "= a * a         by right inverse, left to right, at R", "does not result in a * a"),
        (4, "= a * b * b'    by right inverse, left to right, at R", "line 4: expected a term, came a * b * b'"),
        (4, "= a * (b        by right inverse, left to right, at R", "line 4: expected a closing parenthesis"),
        (4, "= a * d         by right inverse, left to right, at R", "line 4: expected terms of the characters"),
        (5, "= a             by right unit, left to right, at RL", "line 5: there is nothing at RL"),
    ],
)
def test_wrong_proofs_are_refused(number, line, reason):
    assert check_proof("groups", PROOF) is None
    assert reason in check_proof("groups", [*PROOF[: number - 1], line, *PROOF[number:]])


def test_incomplete_proofs_are_refused():
    for number in range(len(PROOF)):
        assert check_proof("groups", PROOF[:number] + PROOF[number + 1 :]) is not None
    assert check_proof("groups", []) == "line 1: expected `Theorem of groups: TERM = TERM`, came nothing"
    with pytest.raises(ValueError, match="came 'rings'"):
        check_proof("rings", PROOF)


@every_theory
def test_a_proof_of_something_else_is_refused(theory):
    """A right proof is one for its own problem alone."""
    env, trajectories = ENVS[theory], walks(theory)
    check = env.plan_checker
    posed, proofs = [], []
    for actions, states in zip(trajectories.actions[:4, :3], trajectories.states[:4], strict=True):
        posed.append(Problem(start=jnp.asarray(states[0]), goal=full_goal(jnp.asarray(states[3]))))
        proofs.append(env.written_plan(posed[-1], actions))
    for (i, one), (j, lines) in itertools.product(enumerate(posed), enumerate(proofs)):
        assert (check(one, lines) is None) == (i == j)
    assert "as the left side of the theorem" in check(posed[0], proofs[1])
    back = dataclasses.replace(posed[0], goal=full_goal(posed[0].start))
    assert "as the right side of the theorem" in check(back, proofs[0])
    assert check(posed[0], proofs[0][:-1]).startswith("line 4: expected the right side")
    for number, line in enumerate(proofs[0][2:], start=2):
        flipped = line.translate(str.maketrans("ab", "ba")) if set("ab") & set(line.split(" by ")[0]) else f"{line} x"
        assert check(posed[0], [*proofs[0][:number], flipped, *proofs[0][number + 1 :]]) is not None


def test_a_theorem_too_large_for_the_tree_is_refused():
    lines = ["Theorem of groups: (a * b)' = (a * b)'", "  (a * b)'"]
    assert check_proof_of("groups", lines, *2 * [[2, 1, 0, 4, 5, 0, 0]]) is None
    assert "as the left side of the theorem, came (a * b)'" in check_proof_of("groups", lines, *2 * [[2, 1, 0]])
    with pytest.raises(ValueError, match="came 'rings'"):
        check_proof_of("rings", lines, [4], [4])


def test_plans_that_prove_nothing_are_not_written():
    posed = problem(GROUPS, "(a * b) * b'", "a")
    plan = shortest_plan(GROUPS, posed)
    with pytest.raises(ValueError, match=r"ends at a, came one that ends at a \* e"):
        GROUPS.written_plan(posed, np.append(plan[:2], -1))
    with pytest.raises(ValueError, match=r"came \d+ as action 1, on a \* \(b \* b'\)"):
        GROUPS.written_plan(posed, plan[[0, 0, 1, 2]])
    with pytest.raises(ValueError, match=r"came 84 as action 0"):
        GROUPS.written_plan(posed, np.array([84]))


# --- States and problems from outside.


@every_theory
def test_terms_survive_encoding_and_writing(theory):
    for state in random_terms(theory)[:200]:
        term = decode_term(THEORIES[theory], state)
        assert (encode_term(THEORIES[theory], 4, term) == state).all()
        assert read(theory, ENVS[theory].render(state)) == term


def test_terms_that_cannot_be_encoded():
    with pytest.raises(ValueError, match=r"came \+ of 2"):
        encode_term(THEORIES["groups"], 4, ("+", "a", "b"))
    with pytest.raises(ValueError, match=r"came \* of 1"):
        encode_term(THEORIES["groups"], 4, ("*", "a"))
    with pytest.raises(ValueError, match="a term of at most 4 levels"):
        encode_term(THEORIES["groups"], 4, ("'", ("'", ("'", ("'", "a")))))
    with pytest.raises(ValueError, match="came x of 0"):
        encode_term(THEORIES["groups"], 4, "x")


def test_render():
    assert GROUPS.render(tokens(GROUPS, "((a*b)*c')*e''")) == "((a * b) * c') * e''"
    assert BOOLEAN.render(tokens(BOOLEAN, "~(a|0)&~~1")) == "~(a | 0) & ~~1"


GOOD = tokens(GROUPS, "a * b'")


@pytest.mark.parametrize(
    ("slot", "token", "reason"),
    [
        (1, 0, "the root, slot 1, is empty"),
        (3, 0, "slot 1 holds *, but its argument at slot 3 is missing"),
        (5, 4, "slot 5 holds a, but a at slot 2 has no argument there"),
        (7, 4, "slot 7 holds a, but ' at slot 3 has no argument there"),
        (12, 1, "slot 12 holds *, but b at slot 6 has no argument there"),
        (6, 2, "slot 6 holds ', but its argument at slot 12 is missing"),
        (2, 7, "expected tokens in 0..6, came 0..7"),
        (2, -1, "expected tokens in 0..6, came -1..5"),
    ],
)
def test_malformed_terms(slot, token, reason):
    state = GOOD.copy()
    state[slot - 1] = token
    assert GROUPS.invalid_reason(GOOD) is None
    assert GROUPS.invalid_reason(state) == reason
    with pytest.raises(ValueError, match="`goal` of problem 1 is not a state of equational_proofs_groups: "):
        GROUPS.problems_from_arrays({"start": np.stack([GOOD, GOOD]), "goal": np.stack([GOOD, state])})


def test_an_operation_on_the_last_level_is_malformed():
    full = np.array([2, 2, 0, 2, 0, 0, 0, 2, *[0] * 7])
    assert GROUPS.invalid_reason(full) == "slot 8 holds ', but its argument at slot 16 is missing"


def test_problems_from_arrays():
    starts, goals = np.stack([GOOD, GOOD]), np.stack([GOOD, tokens(GROUPS, "b * a")])
    built = GROUPS.problems_from_arrays({"start": starts, "goal": goals})
    assert GROUPS.optimal_lengths(built).tolist() == [0, -1]
    for arrays, message in (
        ({"start": starts}, r"expected an array `goal`, came the arrays \['start'\]"),
        ({"start": starts, "goal": goals[:1]}, "came 1 goals for 2 problems"),
        ({"start": starts[:, :7], "goal": goals}, r"`start` must be integers of shape \[problems, 15\]"),
    ):
        with pytest.raises(ValueError, match=message):
            GROUPS.problems_from_arrays(arrays)
