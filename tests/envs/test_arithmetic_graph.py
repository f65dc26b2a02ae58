import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.envs.arithmetic_graph import ArithmeticGraph
from jepa.envs.arithmetic_graph_problems import (
    GraphQuery,
    count_necessary,
    draw_graph,
    given_range,
    is_test_graph,
    shuffle_quantities,
)
from jepa.types import Goal, Problem, Trajectories

ENV = ArithmeticGraph()
HARD = ArithmeticGraph(num_quantities=28, min_steps=10, max_steps=18)
SMALL = ArithmeticGraph(num_quantities=6, min_steps=1, max_steps=4)
NUM_PROBLEMS = {ENV: 1_400, HARD: 270, SMALL: 400}

# By hand modulo 23: x4 = 3 - 10 = -7 = 16, x0 = 16 * 3 = 48 = 2, x5 = 2 + 10 = 12, x2 = 10 - 16 = -6 = 17.
EXAMPLE = {0: ("*", 4, 1), 1: 3, 2: ("-", 3, 4), 3: 10, 4: ("-", 1, 3), 5: ("+", 0, 3)}
EXAMPLE_VALUES = {4: 16, 0: 2, 5: 12, 2: 17}


def tokens(definitions: dict, derived: dict, num_quantities: int = 6, modulus: int = 23) -> list[int]:
    """Writes a state by the documented ranges, sharing nothing with the shipped code."""
    row = []
    for quantity in range(num_quantities):
        definition = definitions[quantity]
        if isinstance(definition, int):
            operation, left, right, known, value = 0, 0, 0, 1, definition
        else:
            operation, left, right = "_+-*".index(definition[0]), definition[1] + 1, definition[2] + 1
            known, value = (1, derived[quantity]) if quantity in derived else (0, modulus)
        row += [
            operation,
            4 + left,
            4 + right,
            5 + num_quantities + known,
            7 + num_quantities + value,
            4 + quantity + 1,
        ]
    return row


def read(state, num_quantities: int, modulus: int = 23) -> tuple[dict, dict]:
    """The inverse of `tokens`: definitions, and values of derived quantities."""
    definitions, derived = {}, {}
    for quantity, (operation, left, right, known, value, _) in enumerate(np.reshape(state, (-1, 6)).tolist()):
        left, right = left - 5, right - 5
        known, value = known - 5 - num_quantities, value - 7 - num_quantities
        definitions[quantity] = ("_+-*"[operation], left, right) if operation else value
        if operation and known:
            derived[quantity] = value
    assert tokens(definitions, derived, num_quantities, modulus) == list(np.asarray(state))
    return definitions, derived


def evaluate(definitions: dict, quantity: int) -> int:
    definition = definitions[quantity]
    if isinstance(definition, int):
        return definition
    a, b = evaluate(definitions, definition[1]), evaluate(definitions, definition[2])
    return {"+": a + b, "-": a - b, "*": a * b}[definition[0]] % 23


def necessary(definitions: dict, derived, query: int) -> set[int]:
    """What must be derived for a query, by recursion."""
    if isinstance(definitions[query], int) or query in derived:
        return set()
    _, left, right = definitions[query]
    return {query} | necessary(definitions, derived, left) | necessary(definitions, derived, right)


def least_derivations(definitions: dict, derived: frozenset) -> dict[int, int]:
    """Breadth-first search over sets of known quantities: the least number of derivations until each is known."""
    given = frozenset(quantity for quantity, definition in definitions.items() if isinstance(definition, int))
    depths, queue, least = {given | derived: 0}, collections.deque([given | derived]), {}
    while queue:
        known = queue.popleft()
        for quantity in known:
            least.setdefault(quantity, depths[known])
        for quantity in set(definitions) - known:
            if set(definitions[quantity][1:]) <= known and known | {quantity} not in depths:
                depths[known | {quantity}] = depths[known] + 1
                queue.append(known | {quantity})
    return least


def fingerprint(definitions: dict) -> tuple:
    """What renaming, the order of operands and the values of given quantities leave of a graph."""

    @functools.cache
    def expression(quantity):
        definition = definitions[quantity]
        if isinstance(definition, int):
            return ()
        return definition[0], *sorted((expression(definition[1]), expression(definition[2])), key=repr)

    return tuple(sorted((expression(quantity) for quantity in definitions), key=repr))


def goals(env: ArithmeticGraph, queries) -> Goal:
    mask = np.zeros((len(queries), env.num_quantities, 6), bool)
    mask[np.arange(len(queries)), queries, 3] = True
    token = 6 + env.num_quantities
    return Goal(
        tokens=jnp.asarray(np.where(mask, token, 0).reshape(len(queries), -1), jnp.int32),
        mask=jnp.asarray(mask.reshape(len(queries), -1)),
    )


@functools.cache
def sampled(env: ArithmeticGraph) -> Problem:
    return jax.jit(jax.vmap(env.sample_problem))(jax.random.split(jax.random.key(1), NUM_PROBLEMS[env]))


@functools.cache
def training_states(env: ArithmeticGraph) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(env.initial_state))(jax.random.split(jax.random.key(2), 2_000)))


@functools.cache
def recorded(env: ArithmeticGraph) -> Trajectories:
    """Ten random walks with as many actions as there are quantities."""
    return collect_walks(env, RandomWalks(walk_length=env.num_quantities), 10 * env.num_quantities, seed=3)


@functools.cache
def drawn_graphs() -> jax.Array:
    """Graphs on both sides, in order."""
    return jax.jit(jax.vmap(lambda key: draw_graph(key, 16)))(jax.random.split(jax.random.key(0), 2_000))


def graphs_of(env: ArithmeticGraph, states) -> jax.Array:
    """[state, quantity, (operation, left, right)] without the offsets."""
    fields = np.asarray(states).reshape(-1, env.num_quantities, 6)[:, :, :3]
    return jnp.asarray(fields - [0, 4, 4], jnp.int32)


# --- Dynamics.


def test_an_example_by_hand():
    step, legal = jax.jit(SMALL.step), jax.jit(SMALL.legal_actions)
    state, derived = jnp.array(tokens(EXAMPLE, {}), jnp.int32), {}
    for quantity, legal_quantities in ((4, [4]), (0, [0, 2]), (5, [2, 5]), (2, [2])):
        assert np.flatnonzero(legal(state)).tolist() == legal_quantities
        derived[quantity] = EXAMPLE_VALUES[quantity]
        state = step(state, jnp.int32(quantity))
        assert state.tolist() == tokens(EXAMPLE, derived)
    assert not legal(state).any()


@pytest.mark.parametrize("env", [ENV, HARD, SMALL], ids=lambda env: env.name)
def test_random_walks_agree_with_recursive_evaluation_and_derive_everything(env):
    walks = recorded(env)
    for states, actions, legal in zip(walks.states, walks.actions, walks.legal_actions, strict=True):
        definitions, derived = read(states[0], env.num_quantities)
        assert not derived
        for state, action, legal_now in zip(states[1:], actions, legal, strict=False):
            given = {quantity for quantity, definition in definitions.items() if isinstance(definition, int)}
            open_quantities = set(definitions) - given - set(derived)
            derivable = {q for q in open_quantities if set(definitions[q][1:]) <= given | set(derived)}
            assert set(np.flatnonzero(legal_now).tolist()) == derivable
            if derivable:
                derived[int(action)] = evaluate(definitions, int(action))
            assert read(state, env.num_quantities) == (definitions, derived)
        assert len(derived) + len(given) == env.num_quantities


def test_parents_and_names_share_their_tokens_and_the_other_fields_have_their_own():
    states = np.concatenate([np.asarray(sampled(ENV).start), training_states(ENV)]).reshape(-1, 6)
    operation, left, right, known, value, name = (set(column.tolist()) for column in states.T)
    assert operation == set(range(4)) and left == right == {4} | name and name == set(range(5, 21))
    assert known == {21, 22} and value == set(range(23, 47)) and ENV.vocab_size == 47
    assert (states[:, 5].reshape(-1, 16) == np.arange(5, 21)).all()


def test_the_goal_is_that_the_query_is_known():
    state = jnp.array(tokens(EXAMPLE, {4: 16, 0: 2}), jnp.int32)
    solved = jax.vmap(SMALL.is_solved, in_axes=(None, 0))(state, goals(SMALL, list(range(6))))
    assert solved.tolist() == [True, True, False, True, True, False]


def test_hindsight_asks_for_one_derived_quantity():
    keys = jax.random.split(jax.random.key(0), 400)
    draw = jax.jit(jax.vmap(SMALL.hindsight_mask, in_axes=(None, 0)))
    for derived, candidates in (({4: 16, 0: 2, 2: 17}, {0, 2, 4}), ({4: 16}, {4}), ({}, {1, 3})):
        state = jnp.array(tokens(EXAMPLE, derived), jnp.int32)
        masks = np.asarray(draw(state, keys))
        assert (masks.sum(axis=1) == 1).all()
        quantities, counts = np.unique(np.argmax(masks, axis=1), return_counts=True)
        assert {int(place) // 6 for place in quantities} == candidates and (quantities % 6 == 3).all()
        assert counts.min() > 0.7 * 400 / len(candidates)
        assert all(SMALL.is_solved(state, Goal(tokens=state, mask=jnp.asarray(mask))) for mask in masks[:5])


# --- Exact lengths.


@pytest.mark.parametrize("env", [ENV, SMALL], ids=lambda env: env.name)
def test_optimal_lengths_agree_with_breadth_first_search(env):
    everything = list(range(env.num_quantities))
    for state in recorded(env).states[:, [0, 3]].reshape(-1, env.num_tokens):
        definitions, derived = read(state, env.num_quantities)
        expected = least_derivations(definitions, frozenset(derived))
        starts = jnp.tile(state, (env.num_quantities, 1))
        lengths = env.optimal_lengths(Problem(start=starts, goal=goals(env, everything)))
        assert lengths.tolist() == [expected[quantity] for quantity in everything]


def test_optimal_lengths_are_minus_one_where_they_cannot_be_known():
    good = tokens(EXAMPLE, {})
    cyclic = tokens({**EXAMPLE, 4: ("-", 1, 0)}, {})  # x4 and x0 need each other; x2 and x5 need them
    beside = tokens({**EXAMPLE, 5: ("+", 2, 3), 2: ("-", 3, 5)}, {})  # x2 and x5 need each other, x0 does not
    starts = [good, cyclic, cyclic, beside, beside, [999] * 36, [-1] * 36]
    goal = goals(SMALL, [5, 5, 1, 0, 5, 1, 1])
    assert SMALL.optimal_lengths(Problem(start=jnp.array(starts), goal=goal)).tolist() == [3, -1, 0, 2, -1, -1, -1]
    whole = Goal(tokens=jnp.array([good]), mask=jnp.ones((1, 36), bool))
    assert SMALL.optimal_lengths(Problem(start=jnp.array([good]), goal=whole)).tolist() == [-1]
    asks_two = jax.tree.map(lambda leaf: leaf.max(axis=0, keepdims=True), goals(SMALL, [2, 0]))
    assert SMALL.optimal_lengths(Problem(start=jnp.array([good]), goal=asks_two)).tolist() == [3]


def test_necessary_derivations_are_counted_right():
    graphs = drawn_graphs()[:100]
    counts = jax.jit(jax.vmap(count_necessary))(graphs).tolist()
    for graph, counted in zip(graphs.tolist(), counts, strict=True):
        definitions = {q: ("_+-*"[row[0]], row[1] - 1, row[2] - 1) if row[0] else 0 for q, row in enumerate(graph)}
        assert counted == [len(necessary(definitions, {}, quantity)) for quantity in range(16)]


def test_a_plan_is_accepted_only_if_it_derives_the_query():
    problem = Problem(
        start=jnp.array(tokens(EXAMPLE, {}), jnp.int32), goal=jax.tree.map(lambda leaf: leaf[0], goals(SMALL, [5]))
    )
    plans = {
        (4, 0, 5, -1): True,
        (4, 2, 0, 5): True,  # a detour by a distractor
        (4, 2, 0, -1): False,
        (4, 5, 0, 5): False,  # x5 before x0
        (4, 0, 0, 5): False,  # x0 is known already
        (4, 1, 0, 5): False,  # x1 is given
        (4, 0, -1, 5): False,
    }
    solved, lengths = jax.vmap(SMALL.verify, in_axes=(None, 0))(problem, jnp.array(list(plans)))
    assert solved.tolist() == list(plans.values())
    assert lengths.tolist() == [3, 4, 3, 4, 4, 4, 2]


# --- Generator.


@pytest.mark.parametrize("env", [ENV, HARD, SMALL], ids=lambda env: env.name)
def test_test_problems_take_a_uniform_number_of_steps(env):
    problems = sampled(env)
    lengths = env.optimal_lengths(problems)
    numbers, counts = np.unique(lengths, return_counts=True)
    assert numbers.tolist() == list(range(env.min_steps, env.max_steps + 1))
    expected = NUM_PROBLEMS[env] / len(numbers)
    assert np.abs(counts - expected).max() < 4.5 * np.sqrt(expected)
    queries = np.argmax(problems.goal.mask, axis=1) // 6
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), problems.goal, goals(env, queries)))
    for start, query, length in list(zip(np.asarray(problems.start), queries.tolist(), lengths, strict=True))[:100]:
        assert env.invalid_reason(start) is None
        definitions, derived = read(start, env.num_quantities)
        assert not derived and len(necessary(definitions, {}, query)) == length


def test_there_are_distractors_that_can_be_derived_without_the_query():
    problems = sampled(ENV)
    detours = []
    for start, mask in zip(np.asarray(problems.start)[:300], np.asarray(problems.goal.mask), strict=False):
        definitions, _ = read(start, 16)
        query = int(np.argmax(mask)) // 6
        needed = {quantity: necessary(definitions, {}, quantity) for quantity in definitions}
        detours.append(sum(query not in needed[q] and bool(needed[q]) and q not in needed[query] for q in needed))
    assert np.mean(detours) > 3 and np.mean(np.array(detours) > 0) > 0.9


def test_training_and_test_graphs_are_disjoint():
    split = jax.jit(jax.vmap(is_test_graph))
    for env in (ENV, HARD, SMALL):
        assert split(graphs_of(env, sampled(env).start)).all()
        assert not split(graphs_of(env, training_states(env))).any()
    assert split(drawn_graphs()).mean() == pytest.approx(0.5, abs=0.05)


def test_no_small_training_graph_is_a_test_graph_in_disguise():
    """On six quantities graphs come again and again, so that a leak would show."""
    sides = [
        [fingerprint(read(state, 6)[0]) for state in np.asarray(states)]
        for states in (sampled(SMALL).start, training_states(SMALL))
    ]
    test, training = map(set, sides)
    assert len(test) > 50 and len(training) > 100
    assert len(test) < 300 and len(training) < 1_600  # they do come again
    assert not test & training


def test_the_side_of_a_graph_does_not_depend_on_numbers_operand_order_or_values():
    state = training_states(ENV)[0]
    graph, original = graphs_of(ENV, state)[0], read(state, 16)[0]
    shuffle = jax.jit(jax.vmap(shuffle_quantities, in_axes=(0, None)))
    asked = shuffle(jax.random.split(jax.random.key(0), 50), GraphQuery(graph=graph, query=jnp.int32(3)))
    assert len(np.unique(asked.graph, axis=0)) == 50
    assert not jax.vmap(is_test_graph)(asked.graph).any()
    assert not is_test_graph(graph.at[:, 1:].set(graph[:, :0:-1]))

    def definitions(rows):
        return {q: ("_+-*"[row[0]], row[1] - 1, row[2] - 1) if row[0] else 0 for q, row in enumerate(rows.tolist())}

    steps = len(necessary(original, {}, 3))
    for renamed, query in zip(asked.graph, asked.query.tolist(), strict=True):
        assert fingerprint(definitions(renamed)) == fingerprint(original)
        assert len(necessary(definitions(renamed), {}, query)) == steps


def test_the_number_of_a_quantity_tells_nothing():
    fewest, most = given_range(16)
    is_given = graphs_of(ENV, training_states(ENV))[:, :, 0] == 0
    assert set(np.unique(is_given.sum(axis=1)).tolist()) == set(range(fewest, most + 1))
    share = np.asarray(is_given.mean(axis=0))
    assert np.abs(share - share.mean()).max() < 4.5 * np.sqrt(share.mean() / 2_000)
    queries = np.argmax(sampled(ENV).goal.mask, axis=1) // 6
    counts = np.bincount(queries, minlength=16)
    assert np.abs(counts - 1_400 / 16).max() < 4.5 * np.sqrt(1_400 / 16)


def test_operations_operands_and_given_values_are_balanced():
    states = training_states(ENV)
    graphs = np.asarray(graphs_of(ENV, states)).reshape(-1, 3)
    defined = graphs[graphs[:, 0] > 0]
    assert np.bincount(defined[:, 0])[1:] / len(defined) == pytest.approx([1 / 3] * 3, abs=0.02)
    assert (defined[:, 1] > defined[:, 2]).mean() == pytest.approx(0.5, abs=0.02)
    values = states.reshape(-1, 6)[graphs[:, 0] == 0, 4] - 23
    counts = np.bincount(values, minlength=23)
    assert len(counts) == 23 and np.abs(counts / len(values) - 1 / 23).max() < 0.012


# --- Bad input.


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"num_quantities": 5}, r"num_quantities must lie in 6\.\.40, came 5"),
        ({"num_quantities": 41}, r"num_quantities must lie in 6\.\.40, came 41"),
        ({"modulus": 1}, "modulus must be at least 2, came 1"),
        ({"min_steps": 0}, "<= 10 with 16 quantities, came min_steps 0 and max_steps 9"),
        ({"min_steps": 10}, "came min_steps 10 and max_steps 9"),
        ({"max_steps": 11}, "<= 10 with 16 quantities, came min_steps 3 and max_steps 11"),
    ],
)
def test_bad_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        ArithmeticGraph(**sizes)


def changed(place: int, token: int) -> list[int]:
    state = tokens(EXAMPLE, {})
    state[place] = token
    return state


GOOD = tokens(EXAMPLE, {4: 16})


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed(0, 4), r"the operation of x0 must be in 0\.\.3, came 4"),
        (changed(7, 3), r"the left parent of x1 must be in 4\.\.10, came 3"),
        (changed(16, 37), r"the value of x2 must be in 13\.\.36, came 37"),
        (changed(11, 5), "x1 must have the name 2, came 1"),
        (changed(7, 5), "x1 is given, but has a parent"),
        (changed(1, 4), "the parents of x0 must be two other quantities, came none and x1"),
        (tokens({**EXAMPLE, 0: ("*", 4, 4)}, {}), "parents of x0 must be two other quantities, came x4 and x4"),
        (tokens({**EXAMPLE, 0: ("*", 0, 4)}, {}), "parents of x0 must be two other quantities, came x0 and x4"),
        (tokens({**EXAMPLE, 4: ("-", 1, 0)}, {}), "a cycle: the definitions of x0, x2, x4, x5 do not lead back"),
        (changed(9, 11), "x1 is given, so it must be known"),
        (changed(10, 36), "x1 is known, but has no value"),
        (changed(4, 18), "x0 is not known, but has the value 5"),
        (changed(3, 12), "x0 is known, but has no value"),
        (tokens(EXAMPLE, {0: 2}), "x0 is known, but not both of its parents x4 and x1"),
        (tokens(EXAMPLE, {4: 7}), r"x4 = x1 - x3 = 3 - 10 must be 16 modulo 23, came 7"),
        (tokens(EXAMPLE, {4: 16, 0: 3}), r"x0 = x4 \* x1 = 16 \* 3 must be 2 modulo 23, came 3"),
    ],
)
def test_wrong_states(state, message):
    with pytest.raises(ValueError, match=f"`start` of problem 1 is not a state of arithmetic_graph_6: .*{message}"):
        SMALL.problems_from_arrays({"start": np.array([GOOD, state]), "query": np.array([0, 0])})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"query": np.array([0])}, r"expected an array `start`, came the arrays \['query'\]"),
        ({"start": np.array([GOOD])}, r"expected an array `query`, came the arrays \['start'\]"),
        (
            {"start": np.array([GOOD[:-1]]), "query": np.array([0])},
            r"\[problems, 36\] .* of shape \[1, 35\]",
        ),
        ({"start": np.array([GOOD]), "query": np.array([0, 1])}, r"of shape \[1\], came int64 of shape \[2\]"),
        ({"start": np.array([GOOD]), "query": np.array([0.0])}, r"one integer per problem.* came float64"),
        ({"start": np.array([GOOD] * 2), "query": np.array([5, 6])}, r"problem 1 must lie in 0\.\.5, came 6"),
        ({"start": np.array([GOOD] * 2), "query": np.array([-1, 6])}, r"problem 0 must lie in 0\.\.5, came -1"),
    ],
)
def test_problems_from_bad_arrays(arrays, message):
    with pytest.raises(ValueError, match=message):
        SMALL.problems_from_arrays(arrays)


def test_problems_from_arrays():
    arrays = {"start": np.array([GOOD, GOOD, GOOD], np.uint8), "query": np.array([5, 4, 1], np.uint8)}
    assert SMALL.optimal_lengths(SMALL.problems_from_arrays(arrays)).tolist() == [2, 0, 0]
    problems = sampled(HARD)
    queries = np.argmax(problems.goal.mask, axis=1) // 6
    rebuilt = HARD.problems_from_arrays({"start": np.asarray(problems.start), "query": queries})
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all() and a.dtype == b.dtype, rebuilt, problems))


def test_render():
    lines = ["x0 = x4 * x1 = ?", "x1 = 3", "x2 = x3 - x4 = ?", "x3 = 10", "x4 = x1 - x3 = 16", "x5 = x0 + x3 = ?"]
    assert SMALL.render(np.array(GOOD)) == "\n".join(lines)
