import functools
import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.envs.base import GoalKind
from jepa.envs.countdown import Countdown
from jepa.types import Goal, Problem

ENV = Countdown()


def problems(starts, targets, env=ENV) -> Problem:
    return env.problems_from_arrays({"start": np.asarray(starts), "target": np.asarray(targets)})


@functools.cache
def combine(a: int, b: int, max_value: int) -> list[int | None]:
    """The four results in the order of the actions, in rational arithmetic; None where there is none."""
    if a == 0 or b == 0:
        return [None] * 4
    a, b = Fraction(a), Fraction(b)
    results = [a + b, abs(a - b), a * b, max(a / b, b / a)]
    return [int(r) if r.denominator == 1 and 0 < r <= max_value else None for r in results]


def fewest(hand: tuple[int, ...], max_value: int) -> dict[int, int]:
    """Brute force by recursion over all sequences of operations: value -> least number of operations."""
    lengths = dict.fromkeys((number for number in hand if number), 0)
    for i, j in itertools.combinations(range(len(hand)), 2):
        rest = tuple(number for place, number in enumerate(hand) if place not in (i, j))
        for result in combine(hand[i], hand[j], max_value):
            if result is not None:
                for value, length in fewest((*rest, result), max_value).items():
                    lengths[value] = min(length + 1, lengths.get(value, len(hand)))
    return lengths


def sorted_rows(states) -> set[tuple[int, ...]]:
    return {tuple(row) for row in np.sort(np.asarray(states), axis=1).tolist()}


@functools.cache
def batched(function):
    return jax.jit(jax.vmap(function))


KEYS = jax.random.split(jax.random.key(0), 4_000)


@pytest.fixture(scope="module")
def training_numbers() -> np.ndarray:
    return np.asarray(batched(ENV.initial_state)(KEYS))


@pytest.fixture(scope="module")
def test_problems() -> Problem:
    return batched(ENV.sample_problem)(KEYS)


# --- Dynamics.


def test_actions_by_hand():
    state = jnp.array([12, 3, 0, 8], jnp.int32)
    successors = batched(ENV.step)(jnp.tile(state, (24, 1)), jnp.arange(24)).tolist()
    legal = dict(zip(ENV.action_names, batched(ENV.legal_actions)(state[None])[0].tolist(), strict=True))
    expected = {
        "1+2": [15, 0, 0, 8],
        "1-2": [9, 0, 0, 8],
        "1*2": [36, 0, 0, 8],
        "1/2": [4, 0, 0, 8],
        "1+4": [20, 3, 0, 0],
        "1-4": [4, 3, 0, 0],
        "1*4": [96, 3, 0, 0],
        "2+4": [12, 11, 0, 0],
        "2-4": [12, 5, 0, 0],
        "2*4": [12, 24, 0, 0],
    }
    assert {name for name, possible in legal.items() if possible} == set(expected)
    for name, successor in zip(ENV.action_names, successors, strict=True):
        assert successor == expected.get(name, state.tolist()), name


def test_action_names_of_three_numbers():
    names = Countdown(num_numbers=3).action_names
    assert names == ("1+2", "1-2", "1*2", "1/2", "1+3", "1-3", "1*3", "1/3", "2+3", "2-3", "2*3", "2/3")
    assert [Countdown(num_numbers=n).num_actions for n in (3, 4, 5)] == [12, 24, 40]
    assert [Countdown(num_numbers=n).name for n in (3, 4, 5)] == ["countdown_3", "countdown_4", "countdown_5"]


def test_every_pair_of_numbers_agrees_with_rational_arithmetic():
    env = Countdown(num_numbers=3, max_value=40)
    pairs = np.array(list(itertools.product(range(41), repeat=2)))
    states = jnp.asarray(np.insert(pairs, 1, 7, axis=1), jnp.int32)  # the pair in places 1 and 3: actions 4..7
    legal = np.asarray(batched(env.legal_actions)(states))[:, 4:8]
    actions = jnp.tile(jnp.arange(4, 8), len(states))
    successors = np.asarray(batched(env.step)(jnp.repeat(states, 4, axis=0), actions)).reshape(-1, 4, 3)
    for (a, b), possible, after in zip(pairs.tolist(), legal.tolist(), successors.tolist(), strict=True):
        results = combine(a, b, 40)
        assert possible == [result is not None for result in results]
        assert after == [[a, 7, b] if result is None else [result, 7, 0] for result in results]


@pytest.mark.parametrize("num_numbers", [3, 5])
def test_walks_lose_one_number_per_action_and_then_stand_still(num_numbers):
    env = Countdown(num_numbers=num_numbers)
    walks = collect_walks(env, RandomWalks(walk_length=6), 6 * 500, seed=0)
    sizes = (walks.states > 0).sum(axis=-1)
    can_move = walks.legal_actions.any(axis=-1)
    assert (sizes[:, 0] == num_numbers).all()
    assert (np.diff(sizes, axis=1) == -1 * can_move[:, :-1]).all()
    # Two numbers can always be subtracted unless they are equal, so only few walks end before the last number.
    assert (sizes[:, num_numbers - 1] == 1).mean() > 0.97
    assert (walks.states[:, num_numbers:] == walks.states[:, num_numbers - 1 : -1]).all()
    assert not can_move[sizes == 1].any()


# --- Reachable values and optimal lengths.


@pytest.mark.parametrize(
    ("num_numbers", "max_value", "num_hands"), [(3, 99, 30), (3, 22, 30), (4, 99, 20), (4, 30, 20), (5, 99, 2)]
)
def test_lengths_and_reachable_values_agree_with_brute_force(num_numbers, max_value, num_hands):
    env = Countdown(num_numbers=num_numbers, max_value=max_value)
    # Not only hands that problems begin with: the first number is as large as can be, some places are empty.
    generator = np.random.default_rng(0)
    hands = generator.integers(1, 13, (num_hands, num_numbers), np.int32)
    hands[:, 0] = generator.integers(1, max_value, num_hands, endpoint=True)
    hands[:, 1:] *= generator.random((num_hands, num_numbers - 1)) < 0.9
    reachable = np.asarray(batched(env.reachable_values)(hands))
    targets = np.arange(1, max_value + 1)
    for hand, values in zip(hands, reachable, strict=True):
        expected = fewest(tuple(hand.tolist()), max_value)
        assert np.flatnonzero(values).tolist() == sorted(expected)
        lengths = env.optimal_lengths(problems(np.tile(hand, (max_value, 1)), targets, env))
        assert lengths.tolist() == [expected.get(target, -1) for target in targets.tolist()]


@pytest.mark.parametrize(
    ("start", "target", "length"),
    [
        ((5, 17, 30, 2), 17, 0),
        ((1, 1, 1, 1), 2, 1),
        ((1, 1, 1, 1), 3, 2),
        ((1, 1, 1, 1), 4, 3),  # (1 + 1) * (1 + 1); nothing larger
        ((1, 1, 1, 1), 5, -1),
        ((2, 3, 5, 7), 75, 3),  # 3 * 5 * (7 - 2)
        ((6, 4, 2, 3), 24, 1),
        ((7, 9, 30, 40), 91, -1),
        ((0, 9, 0, 7), 63, 1),
        ((0, 9, 0, 0), 9, 0),
        ((0, 9, 0, 0), 8, -1),
        ((5, 20, 25, 48), 74, -1),  # 2, were 5 * 20 = 100 kept as a number and carried into 48
        ((25, 4, 1, 1), 99, -1),  # by way of 100 alone, which is above max_value
    ],
)
def test_lengths_by_hand(start, target, length):
    assert fewest(start, 99).get(target, -1) == length
    assert ENV.optimal_lengths(problems([start], [target])).tolist() == [length]


def test_numbers_on_the_way_are_bounded_too():
    start, target = [[25, 4, 1, 1]], [99]
    assert ENV.optimal_lengths(problems(start, target)) == [-1]
    larger = Countdown(max_value=100)
    assert larger.optimal_lengths(problems(start, target, larger)) == [2]


def test_lengths_do_not_depend_on_the_order_of_numbers_or_problems(test_problems):
    lengths = ENV.optimal_lengths(test_problems)
    assert set(lengths.tolist()) == {1, 2, 3}
    shuffled = np.random.default_rng(0).permutation(len(lengths))
    starts, targets = np.asarray(test_problems.start), np.asarray(test_problems.goal.tokens)[:, 0]
    again = ENV.optimal_lengths(problems(starts[shuffled][:, ::-1], targets[shuffled]))
    assert again.tolist() == lengths[shuffled].tolist()


def test_lengths_are_minus_one_out_of_range():
    goal = Goal(tokens=jnp.array([[100] * 4, [0] * 4, [9] * 4, [9] * 4]), mask=jnp.ones((4, 4), bool))
    starts = jnp.array([[10, 10, 9, 1], [10, 10, 9, 1], [100, 9, 1, 1], [-1, 9, 1, 1]])
    assert ENV.optimal_lengths(Problem(start=starts, goal=goal)).tolist() == [-1] * 4
    assert ENV.optimal_lengths(jax.tree.map(lambda leaf: leaf[:0], Problem(start=starts, goal=goal))).shape == (0,)


# --- Contexts and problems.


def is_test_multiset(numbers: tuple[int, ...]) -> bool:
    """The split restated in plain Python: it must never change, or old models would have seen the tests."""
    digest = 0
    for number in sorted(numbers):
        digest = (digest ^ number) * 0x9E3779B1 % 2**32
        digest ^= digest >> 15
    return digest * 0x85EBCA6B % 2**32 >= 2**31


def test_numbers_of_training_and_of_tests_are_disjoint(training_numbers, test_problems):
    training, test = sorted_rows(training_numbers), sorted_rows(test_problems.start)
    assert not training & test
    assert not any(map(is_test_multiset, training)) and all(map(is_test_multiset, test))
    assert len(training) > 1_000 and len(test) > 1_000  # neither is a handful of contexts


@pytest.mark.parametrize("num_numbers", [3, 5])
def test_other_sizes_are_disjoint_too(num_numbers):
    env = Countdown(num_numbers=num_numbers)
    assert not any(map(is_test_multiset, sorted_rows(batched(env.initial_state)(KEYS[:200]))))
    assert all(map(is_test_multiset, sorted_rows(batched(env.sample_problem)(KEYS[:200]).start)))


def test_the_split_is_even_and_blind_to_order():
    multisets = np.array(list(itertools.combinations_with_replacement(range(1, 16), 4)), np.int32)
    is_test = batched(ENV.is_test_context)
    belongs = np.asarray(is_test(multisets))
    assert belongs.tolist() == [is_test_multiset(row) for row in multisets.tolist()]
    # 3,060 multisets; half of them with a standard deviation of 28, were the bit a coin.
    assert abs(belongs.sum() - 1_530) < 5 * 28
    for order in itertools.permutations(range(4)):
        assert (np.asarray(is_test(multisets[:, order])) == belongs).all()


def test_numbers_are_small_or_large_and_can_be_added(training_numbers, test_problems):
    probabilities = {number: 0.075 if number <= 10 else 0.25 / 39 for number in range(1, 50)}
    assert sum(probabilities.values()) == pytest.approx(1)
    products = sum(p * q for a, p in probabilities.items() for b, q in probabilities.items() if a * b <= 99)
    assert products == pytest.approx(0.68, abs=0.01)
    for numbers in (training_numbers, np.asarray(test_problems.start)):
        assert set(np.unique(numbers).tolist()) == set(range(1, 50))
        assert (numbers <= 10).mean() == pytest.approx(0.75, abs=0.02)
        # The operations of a pair are in the order + - * /.
        legal = np.asarray(batched(ENV.legal_actions)(numbers))
        assert legal[:, 0::4].all()
        assert legal.sum(axis=1).mean() > 16  # of 24
        assert legal[:, 2::4].mean() == pytest.approx(products, abs=0.02)


def test_targets_are_uniform_over_the_reachable_ones(test_problems):
    assert test_problems.goal.mask.all()
    starts, goals = np.asarray(test_problems.start)[:300], np.asarray(test_problems.goal.tokens)[:300]
    assert (goals == goals[:, :1]).all()
    quantiles = []
    for start, target in zip(starts.tolist(), goals[:, 0].tolist(), strict=True):
        targets = [value for value in sorted(fewest(tuple(start), 99)) if value >= 10 and value not in start]
        quantiles.append((targets.index(target) + 0.5) / len(targets))
    # Uniform quantiles: a mean of 1/2 with a standard error of 0.017, and 75 in each quarter, give or take 7.5.
    assert np.mean(quantiles) == pytest.approx(0.5, abs=0.07)
    assert np.abs(np.histogram(quantiles, bins=4, range=(0, 1))[0] - 75).max() < 30


def test_problems_are_solvable_and_not_solved(test_problems):
    lengths = ENV.optimal_lengths(test_problems)
    assert lengths.min() == 1 and lengths.max() == 3
    assert not batched(ENV.is_solved)(test_problems.start, test_problems.goal).any()
    targets = np.asarray(test_problems.goal.tokens)
    assert targets.min() == 10 and targets.max() == 99


# --- Goals.


def test_goal_is_a_set_of_states():
    assert ENV.goal_kind is GoalKind.STATE_SET and not ENV.is_reversible
    goal = jax.tree.map(lambda leaf: leaf[0], problems([[1, 2, 3, 4]], [24]).goal)
    assert goal.tokens.tolist() == [24] * 4 and goal.mask.tolist() == [True] * 4
    alternatives = ENV.goal_alternatives(goal)
    assert alternatives.tokens.tolist() == [[24] * 4] * 4
    assert alternatives.mask.tolist() == np.eye(4, dtype=bool).tolist()
    states = [[24, 0, 0, 0], [1, 0, 3, 24], [24, 24, 24, 24], [1, 2, 3, 4], [2, 4, 0, 0]]
    solved = jax.vmap(ENV.is_solved, in_axes=(0, None))(jnp.array(states), goal)
    assert solved.tolist() == [True, True, True, False, False]


def test_hindsight_goals_ask_for_one_of_the_numbers():
    state = jnp.array([0, 7, 0, 30], jnp.int32)
    keys = jax.random.split(jax.random.key(0), 200)
    masks = np.asarray(jax.vmap(ENV.hindsight_mask, in_axes=(None, 0))(state, keys))
    assert (masks.sum(axis=1) == 1).all()
    assert masks[:, [0, 2]].sum() == 0 and 70 < masks[:, 1].sum() < 130
    goal = Goal(tokens=state, mask=jnp.array([False, True, False, False]))
    solved = jax.vmap(ENV.is_solved, in_axes=(0, None))
    assert solved(jnp.array([[0, 7, 0, 30], [7, 1, 1, 1], [30, 0, 0, 0]]), goal).tolist() == [True, True, False]
    goals = jax.tree.map(lambda leaf: leaf[None], goal)
    assert ENV.optimal_lengths(Problem(start=jnp.array([[10, 3, 0, 0]]), goal=goals)).tolist() == [1]


def test_posed_goals_ask_for_a_number_that_was_not_there():
    posed = jax.jit(jax.vmap(ENV.posed_goal, in_axes=(None, None, 0)))
    begin, keys = jnp.array([7, 7, 3, 10], jnp.int32), jax.random.split(jax.random.key(0), 200)
    goals = posed(begin, jnp.array([49, 0, 30, 7], jnp.int32), keys)
    assert goals.mask.all() and (goals.tokens == goals.tokens[:, :1]).all()
    targets = np.asarray(goals.tokens[:, 0])
    assert set(targets.tolist()) == {30, 49} and 70 < (targets == 30).sum() < 130
    # Where every number was there, it is one of them, and none of an empty place.
    goals = posed(begin, jnp.array([7, 10, 3, 0], jnp.int32), keys)
    assert set(np.asarray(goals.tokens[:, 0]).tolist()) == {3, 7, 10}


def test_verify():
    problem = jax.tree.map(lambda leaf: leaf[0], problems([[3, 8, 1, 2]], [25]))
    number = {name: action for action, name in enumerate(ENV.action_names)}
    cases = [
        (["1*2", "1+3"], True),
        (["2*1", "1+3"][1:], False),  # 3 + 1 is no 25
        (["1*2", "3*4", "1+3"], False),  # 24 + 2
        (["3-4", "1*2", "1+3"], True),  # a detour: 2 - 1 is 1
        (["1*2", "1+3", "1+4"], False),  # past the target
        (["1*2", "1/2", "1+3"], False),  # place 2 is empty
        (["1*2", "1+3", "1/4"], False),  # 25 / 2 is not whole
        ([], False),
    ]
    plans = [[number[name] for name in names] + [-1] * (4 - len(names)) for names, _ in cases]
    solved, lengths = jax.vmap(ENV.verify, in_axes=(None, 0))(problem, jnp.array(plans, jnp.int32))
    assert solved.tolist() == [expected for _, expected in cases]
    assert lengths.tolist() == [len(names) for names, _ in cases]


# --- Sizes, states and problems from outside.


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"num_numbers": 2}, r"num_numbers must lie in 3\.\.5, came 2"),
        ({"num_numbers": 6}, r"num_numbers must lie in 3\.\.5, came 6"),
        ({"max_value": 21}, r"max_value must lie in 22\.\.999, came 21"),
        ({"max_value": 1_000}, r"max_value must lie in 22\.\.999, came 1000"),
    ],
)
def test_sizes_out_of_range_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        Countdown(**sizes)


@pytest.mark.parametrize("max_value", [22, 999])
def test_the_extreme_sizes_work(max_value):
    env = Countdown(max_value=max_value)
    drawn = batched(env.sample_problem)(KEYS[:100])
    assert 0.9 * (max_value // 2) < drawn.start.max() <= max_value // 2 and env.vocab_size == max_value + 1
    assert set(env.optimal_lengths(drawn).tolist()) == {1, 2, 3}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ([1, 99, 0, 0], None),
        ([5, 5, 5, 5], None),
        ([1, 2, 3], "expected 4 places, came shape [3]"),
        ([1, 100, 0, 0], "numbers up to 99 in every place, came [1, 100, 0, 0]"),
        ([1, -1, 0, 0], "expected 0 (empty) or numbers"),
        ([0, 0, 0, 0], "at least one number"),
    ],
)
def test_invalid_reason(state, reason):
    came = ENV.invalid_reason(np.array(state))
    assert came is None if reason is None else reason in came


def test_problems_from_arrays_rebuild_what_was_drawn(test_problems):
    starts, targets = np.asarray(test_problems.start), np.asarray(test_problems.goal.tokens)[:, 0]
    rebuilt = ENV.problems_from_arrays({"start": starts.astype(np.uint8), "target": targets.astype(np.uint8)})
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all() and a.dtype == b.dtype, rebuilt, test_problems))


NUMBERS = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"target": np.array([24])}, r"`start`, came the arrays \['target'\]"),
        ({"start": NUMBERS}, r"`target`, came the arrays \['start'\]"),
        ({"start": NUMBERS[:, :3], "target": np.array([24, 24])}, r"\[problems, 4\] for countdown_4, came int64"),
        ({"start": NUMBERS * 13, "target": np.array([24, 24])}, r"`start` of problem 1 .* numbers up to 99"),
        ({"start": NUMBERS, "target": np.array([24])}, r"shape \[2\], one per problem, came int64 of shape \[1\]"),
        ({"start": NUMBERS, "target": np.array([24.0, 24.0])}, r"`target` must be integers .* came float64"),
        ({"start": NUMBERS, "target": np.array([24, 100])}, r"problem 1 must lie in 1\.\.99 for countdown_4, came 100"),
        ({"start": NUMBERS, "target": np.array([0, 24])}, r"`target` of problem 0 .* came 0"),
    ],
)
def test_problems_from_bad_arrays(arrays, message):
    with pytest.raises(ValueError, match=message):
        ENV.problems_from_arrays(arrays)


def test_render():
    assert ENV.render(np.array([3, 7, 0, 25])) == "3 7 . 25"
