"""Tables of Gymnasium against Gymnasium's own steps, and against searches of its own table."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.envs.base import full_goal
from jepa.envs.gymnasium_adapter import GymnasiumTable
from jepa.types import Goal, Problem

gymnasium = pytest.importorskip("gymnasium")

NOT_SLIPPERY = '{"is_slippery": false}'
TAXI = GymnasiumTable(env_id="Taxi-v4")
LAKE = GymnasiumTable(env_id="FrozenLake-v1", arguments=NOT_SLIPPERY)
CLIFF = GymnasiumTable(env_id="CliffWalking-v1")
# With the way to see a success in Gymnasium's own table: (reward, whether the episode ends).
EACH = pytest.mark.parametrize(
    ("env", "is_success"),
    [
        (TAXI, lambda reward, ends: reward == 20),
        (LAKE, lambda reward, ends: reward == 1),
        (CLIFF, lambda reward, ends: ends),
    ],
    ids=["taxi", "lake", "cliff"],
)


def original(env: GymnasiumTable):
    arguments = {"is_slippery": False} if env.arguments == NOT_SLIPPERY else {}
    return gymnasium.make(env.env_id, **arguments).unwrapped


def tokens_of(theirs, number: int) -> list[int]:
    return list(theirs.decode(number)) if hasattr(theirs, "decode") else [number]


class Tiny(gymnasium.Env):
    """An environment of the table that a test gives it."""

    def __init__(self, table, starts, decode=None, first=0):
        self.P = table
        self.initial_state_distrib = np.array(starts, float) / sum(starts)
        self.observation_space = gymnasium.spaces.Discrete(len(table), start=first)
        self.action_space = gymnasium.spaces.Discrete(len(table[0]))
        if decode is not None:
            self.decode = decode


@pytest.fixture
def tiny(monkeypatch, request):
    """Registers an environment of one test, and makes the domain."""
    names = iter(range(100))

    def build(*args, **kwargs) -> GymnasiumTable:
        name = f"Tiny_{request.node.name.split('[')[0]}_{next(names)}-v0"
        gymnasium.register(name, entry_point=lambda: Tiny(*args, **kwargs))
        request.addfinalizer(lambda: gymnasium.registry.pop(name))
        return GymnasiumTable(env_id=name)

    return build


def line(length: int, rewards=(0.0, 0.0)) -> list[list[list[tuple]]]:
    """States in a row, left and right; an episode ends at both ends of it."""

    def move(state, by):
        after = state + by
        ends = after in (0, length - 1)
        return [(1.0, after, rewards[after > 0] if ends else 0.0, ends)]

    inner = [[move(state, -1), move(state, +1)] for state in range(1, length - 1)]
    return [[[(1.0, 0, 0.0, True)]] * 2, *inner, [[(1.0, length - 1, 0.0, True)]] * 2]


def problems(starts, goals) -> Problem:
    return Problem(start=jnp.asarray(starts, jnp.int32), goal=full_goal(jnp.asarray(goals, jnp.int32)))


# ---- the same moves as Gymnasium


@EACH
def test_random_walks_agree_with_gymnasium(env, is_success):
    theirs, random = original(env), np.random.default_rng(0)
    step, legal_actions = jax.jit(env.step), jax.jit(env.legal_actions)
    for seed in range(20):
        number, _ = theirs.reset(seed=seed)
        state = jnp.array(tokens_of(theirs, number), jnp.int32)
        for action in random.integers(env.num_actions, size=100).tolist():
            assert env.invalid_reason(np.asarray(state)) is None
            before, legal = number, legal_actions(state)
            number, _, ended, _, _ = theirs.step(action)
            state = step(state, jnp.int32(action))
            assert state.tolist() == tokens_of(theirs, number)
            assert legal[action] == (number != before)
            if ended:
                break


@EACH
def test_every_move_is_that_of_gymnasium_and_none_goes_on_behind_an_end(env, is_success):
    theirs, table = original(env), env._table
    states, actions = np.flatnonzero(table.is_reachable), jnp.arange(env.num_actions)
    tokens = jnp.asarray(table.tokens[states])
    successors = np.asarray(jax.vmap(jax.vmap(env.step, in_axes=(None, 0)), in_axes=(0, None))(tokens, actions))
    legal, has_ended = np.asarray(jax.vmap(env.legal_actions)(tokens)), set()
    for index, state in enumerate(states.tolist()):
        if not legal[index].any():
            assert (successors[index] == table.tokens[state]).all()
            continue
        for action in range(env.num_actions):
            theirs.s, theirs.lastaction = state, None
            number, _, ended, _, _ = theirs.step(action)
            assert successors[index, action].tolist() == tokens_of(theirs, number)
            has_ended |= {number} if ended else set()
    assert has_ended == set(states[~legal.any(axis=1)].tolist())


def test_passenger_dropped_at_the_destination_ends_the_episode():
    state = TAXI.problems_from_arrays({"start": np.array([[0, 0, 4, 0]])}).start[0]
    assert TAXI.step(state, jnp.int32(5)).tolist() == [0, 0, 0, 0]
    assert not TAXI.legal_actions(jnp.zeros(4, jnp.int32)).any()


def test_legal_actions_are_the_action_mask_of_taxi():
    theirs = original(TAXI)
    table = TAXI._table
    for number in np.flatnonzero(table.goals >= 0).tolist():
        assert table.legal[number].tolist() == theirs.action_mask(number).astype(bool).tolist()


def test_starts_are_drawn_as_gymnasium_draws_them():
    keys = jax.random.split(jax.random.key(0), 2000)
    drawn = np.asarray(jax.jit(jax.vmap(TAXI.initial_state))(keys))
    assert (drawn[:, 2] != drawn[:, 3]).all() and (drawn[:, 2] < 4).all()
    expected = {tuple(tokens_of(original(TAXI), int(n))) for n in np.flatnonzero(original(TAXI).initial_state_distrib)}
    assert {tuple(state) for state in drawn.tolist()} == expected
    assert np.unique(jax.vmap(LAKE.initial_state)(keys)).tolist() == [0]


def test_walks_rest_where_they_ended():
    walks = collect_walks(LAKE, RandomWalks(walk_length=50), 50 * 20, seed=0)
    ended = ~walks.legal_actions.any(axis=-1)
    assert ended[:, -1].all() and (np.diff(ended.astype(int), axis=1) >= 0).all()
    assert (walks.states[:, 1:] == walks.states[:, :-1])[ended[:, :-1]].all()


# ---- states and goals


def test_numbers_of_states():
    # Gymnasium's documentation of Taxi: 400 states during an episode, and four right after a success.
    assert TAXI._table.is_reachable.sum() == 404 and (TAXI._table.goals >= 0).sum() == 400
    # 4 holes and the goal of 16; 10 cells of cliff of 48.
    assert LAKE._table.is_reachable.sum() == 16 and (LAKE._table.goals >= 0).sum() == 11
    assert CLIFF._table.is_reachable.sum() == 38 and (CLIFF._table.goals >= 0).sum() == 37
    assert (TAXI.num_tokens, TAXI.vocab_size, LAKE.num_tokens, LAKE.vocab_size) == (4, 5, 1, 16)


def search(theirs, start: int, is_success) -> int:
    """Least number of actions to a success, by a search that shares nothing with the shipped code."""
    queue, seen = collections.deque([(start, 0)]), {start}
    while queue:
        number, length = queue.popleft()
        for outcomes in theirs.P[number].values():
            ((_, after, reward, ends),) = outcomes
            if ends and is_success(reward, ends):
                return length + 1
            if not ends and after not in seen:
                seen.add(after)
                queue.append((after, length + 1))
    return -1


@EACH
def test_optimal_lengths_are_those_of_a_search(env, is_success):
    theirs = original(env)
    starts = np.flatnonzero(env._table.goals >= 0)
    posed = env.problems_from_arrays({"start": env._table.tokens[starts]})
    assert env.optimal_lengths(posed).tolist() == [search(theirs, start, is_success) for start in starts.tolist()]


def test_golden_lengths():
    # Down the side and along: 6 of 4 + 4 - 2 moves on the lake, and around the cliff 1 + 11 + 1.
    assert LAKE.optimal_lengths(LAKE.problems_from_arrays({"start": np.array([[0]])})).tolist() == [6]
    assert CLIFF.optimal_lengths(CLIFF.problems_from_arrays({"start": np.array([[36]])})).tolist() == [13]


def test_drawn_problems_are_all_starts_with_their_own_goal():
    drawn = jax.jit(jax.vmap(TAXI.sample_problem))(jax.random.split(jax.random.key(0), 4000))
    assert len(np.unique(drawn.start, axis=0)) == 400
    goals = np.asarray(drawn.goal.tokens)
    assert (goals[:, 3] == np.asarray(drawn.start)[:, 3]).all() and (goals[:, 2] == goals[:, 3]).all()


def test_goal_is_the_nearest_of_the_highest_rewarded_ends(tiny):
    both, right = tiny(line(6), [0, 1, 1, 1, 1, 0]), tiny(line(6, rewards=(0.0, 0.5)), [0, 1, 1, 1, 1, 0])
    assert both._table.goals.tolist() == [-1, 0, 0, 5, 5, -1]
    assert right._table.goals.tolist() == [-1, 5, 5, 5, 5, -1]


def test_lengths_of_what_is_no_problem():
    open_goal = Goal(tokens=jnp.array([[15]]), mask=jnp.array([[False]]))
    assert LAKE.optimal_lengths(Problem(start=jnp.array([[0]]), goal=open_goal)).tolist() == [-1]
    starts, goals = [[0], [5], [99], [-1], [15]], [[15], [15], [15], [15], [15]]
    assert LAKE.optimal_lengths(problems(starts, goals)).tolist() == [6, -1, -1, -1, 0]
    assert TAXI.optimal_lengths(problems([[2, 2, 1, 1]], [[0, 4, 1, 1]])).tolist() == [-1]


def test_no_table_is_reversible():
    assert not TAXI.is_reversible and not CLIFF.is_reversible


# ---- refusals


@pytest.mark.parametrize(
    ("env_id", "arguments", "message"),
    [
        ("FrozenLake-v1", "{}", "must be deterministic, but action 0 in state 0 has 2 outcomes"),
        ("CliffWalking-v1", '{"is_slippery": true}', "must be deterministic"),
        ("CartPole-v1", "{}", "expected states and actions of CartPole-v1 to be Discrete from 0 on, came Box"),
        ("Blackjack-v1", "{}", "came Tuple"),
        ("NoSuchThing-v1", "{}", "cannot make NoSuchThing-v1 .*doesn't exist"),
        ("Taxi-v4", '{"colour": 1}', "cannot make Taxi-v4 .*unexpected keyword"),
        ("FrozenLake-v1", '{"map_name": "9x9"}', "cannot make FrozenLake-v1 .*9x9"),
        ("Taxi-v4", "[1]", r"must be a JSON object, such as .*, came '\[1\]'"),
        ("Taxi-v4", "{", "must be JSON, came '{': Expecting"),
        ("Taxi", "{}", "name and version of a registered environment, as Taxi-v4, came 'Taxi'"),
        ("antigravity:Taxi-v4", "{}", "came 'antigravity:Taxi-v4'"),
    ],
)
def test_wrong_environment_is_refused(env_id, arguments, message):
    with pytest.raises(ValueError, match=message):
        GymnasiumTable(env_id=env_id, arguments=arguments)


def test_wrong_tables_are_refused(tiny):
    starts = [0, 1, 1, 0]
    with pytest.raises(ValueError, match="Discrete from 0 on, came Discrete"):
        tiny(line(4), starts, first=1)
    with pytest.raises(ValueError, match="state 0 is reached with and without an end"):
        tiny(line(4), [1, 1, 1, 1])
    with pytest.raises(ValueError, match="but those of .* never end"):
        tiny([[[(1.0, 1, 0.0, False)]], [[(1.0, 0, 0.0, False)]]], [1, 0])
    with pytest.raises(ValueError, match="all different"):
        tiny(line(4), starts, decode=lambda number: (number // 2, 0))
    with pytest.raises(ValueError, match="at most 16777216 combinations, came 27000000000"):
        tiny(line(4), starts, decode=lambda number: (number * 1000 - number,) * 3 if number < 3 else (2999,) * 3)


@pytest.mark.parametrize("attribute", ["P", "initial_state_distrib"])
def test_environment_without_a_model_is_refused(attribute, tiny, monkeypatch):
    def build_without(self, *args, **kwargs):
        build(self, *args, **kwargs)
        delattr(self, attribute)

    build = Tiny.__init__
    monkeypatch.setattr(Tiny, "__init__", build_without)
    with pytest.raises(ValueError, match=f"expected a tabular environment, but .* has no attribute `{attribute}`"):
        tiny(line(4), [0, 1, 1, 0])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "expected an array `start`"),
        ({"start": np.array([[0, 0, 0]])}, r"must be integers of shape \[problems, 4\]"),
        ({"start": np.array([[0, 0, 5, 0]])}, r"tokens must lie in 0\.\.\[4, 4, 4, 3\]"),
        ({"start": np.array([[0, 0, 1, 0], [1, 1, 2, 2]])}, "problem 1 .*no episode of Taxi-v4 reaches"),
        ({"start": np.array([[0, 0, 0, 0]])}, "problem 0 has no solution: no actions lead from .* to a success"),
        (
            {"start": np.array([[0, 0, 1, 0]]), "goal": np.array([[0, 4, 1, 1]])},
            r"problem 0 has no solution: no actions lead from .* to the goal \[0, 4, 1, 1\]",
        ),
    ],
)
def test_wrong_problems_are_refused(arrays, message):
    with pytest.raises(ValueError, match=message):
        TAXI.problems_from_arrays(arrays)


def test_names_tell_arguments_apart():
    assert TAXI.name == "gymnasium_taxi_v4"
    large = GymnasiumTable(env_id="FrozenLake-v1", arguments='{"map_name": "8x8", "is_slippery": false}')
    swapped = GymnasiumTable(env_id="FrozenLake-v1", arguments='{"is_slippery":false, "map_name":"8x8"}')
    assert len({TAXI.name, LAKE.name, large.name}) == 3 and large.name == swapped.name


def test_render():
    assert TAXI.render(np.array([3, 1, 2, 0])) == "state 328: 3 1 2 0"
