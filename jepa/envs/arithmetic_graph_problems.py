"""Random arithmetic graphs: drawn, split into training and test graphs, and searched for queries of a wanted size.

A graph is an array [A, 3], one row per quantity: its operation (0 given, 1 +, 2 -, 3 *) and its left and right
parent, each as index + 1 and 0 for none. A is the number of quantities, since each has one action. Everything is
drawn in integers, so that a key gives the same graphs on every device.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key, UInt

from jepa.types import pytree

MAX_RECENCY = 6
"""A first parent is the latest of up to this many draws: what makes graphs deep, and deeper the more there are."""

GOLDEN = 0x9E3779B9
"""2^32 divided by the golden ratio, the usual constant that keeps small numbers apart in a hash."""


@pytree
class GraphQuery:
    """A graph and the quantity that is asked for."""

    graph: Int[Array, "A 3"]
    """Definitions of the quantities."""
    query: Int[Array, ""]
    """Index of one quantity."""


def given_range(num_quantities: int) -> tuple[int, int]:
    """Returns the least and the largest number of given quantities of a graph."""
    return max(2, num_quantities // 8), max(2, num_quantities // 4)


def draw_graph(key: Key[Array, ""], num_quantities: int) -> Int[Array, "A 3"]:
    """Draws a graph in which the given quantities come first and parents stand before their children.

    One parent is any earlier quantity, the other, the latest of 1 to `MAX_RECENCY` such draws, is a recent one; how
    many draws is drawn per graph, so that there are broad graphs and deep ones. Which of the two stands on the left
    is a coin toss.
    """
    # One block of random bits, since every further call costs a second of compilation. Remainders are then biased by
    # less than one part in ten million.
    bits = jax.random.bits(key, (MAX_RECENCY + 3, num_quantities))
    positions = jnp.arange(num_quantities)
    fewest, most = given_range(num_quantities)
    num_given = fewest + _below(most + 1 - fewest, bits[0, 0])

    num_draws = 1 + _below(MAX_RECENCY, bits[0, 1])
    draws = _below(positions, bits[1 : MAX_RECENCY + 1])
    recent = jnp.where(jnp.arange(MAX_RECENCY)[:, None] < num_draws, draws, 0).max(axis=0)
    other = _below(positions - 1, bits[MAX_RECENCY + 1])
    other += other >= recent  # any but the recent one

    choices = _below(6, bits[MAX_RECENCY + 2])
    is_swapped = choices % 2 == 1
    parents = jnp.stack([jnp.where(is_swapped, other, recent), jnp.where(is_swapped, recent, other)], axis=1) + 1
    definitions = jnp.concatenate([1 + choices[:, None] // 2, parents], axis=1)
    return jnp.where(positions[:, None] < num_given, 0, definitions)


def _below(limits: Int[Array, "*A"] | int, bits: UInt[Array, "*B"]) -> Int[Array, "*B"]:
    """Maps random bits to numbers from 0 to below a limit, and to 0 where the limit is not positive."""
    return (bits % jnp.maximum(limits, 1).astype(jnp.uint32)).astype(jnp.int32)


def count_necessary(graph: Int[Array, "A 3"]) -> Int[Array, " A"]:
    """Returns how many derivations each quantity takes, its own included, while only the given ones are known.

    The graph must be in order, parents before children, as `draw_graph` makes it.
    """
    is_defined = graph[:, 0] > 0

    def add_row(position, ancestors):
        row = ancestors[graph[position, 1] - 1] | ancestors[graph[position, 2] - 1]
        return ancestors.at[position].set(row.at[position].set(True) & is_defined[position])

    ancestors = jax.lax.fori_loop(0, len(graph), add_row, jnp.zeros((len(graph), len(graph)), bool))
    return ancestors.sum(axis=1)


def is_test_graph(graph: Int[Array, "A 3"]) -> Bool[Array, ""]:
    """Whether a graph is kept for test problems; a bit of a hash says so, and half of all graphs are.

    A quantity is hashed by its definition down to the given quantities, the graph by the sum over its quantities.
    So two graphs lie on the same side if they differ in nothing but the numbering of the quantities or the order of
    operands: a test graph is no training graph in disguise. Values play no part.
    """
    is_defined = graph[:, 0] > 0
    operations = graph[:, 0].astype(jnp.uint32)

    def refine(_, codes):
        operands = codes[graph[:, 1] - 1] + codes[graph[:, 2] - 1]
        return jnp.where(is_defined, _mix(operands + operations * jnp.uint32(GOLDEN)), jnp.uint32(GOLDEN))

    # After r rounds the codes of all quantities of depth r are final.
    codes = jax.lax.fori_loop(0, len(graph), refine, jnp.zeros(len(graph), jnp.uint32))
    return (_mix(_mix(codes).sum(dtype=jnp.uint32)) & 1) == 1


def _mix(codes: UInt[Array, "*A"]) -> UInt[Array, "*A"]:
    """Scrambles 32 bits one to one: in turns an xor with the upper half and a product with an odd number."""
    for _ in range(3):
        codes = (codes ^ (codes >> 16)) * jnp.uint32(GOLDEN)
    return codes ^ (codes >> 16)


def shuffle_quantities(key: Key[Array, ""], asked: GraphQuery) -> GraphQuery:
    """Numbers the quantities anew at random, so that a number says nothing about the place in the graph."""
    new_numbers = jnp.argsort(jax.random.bits(key, (len(asked.graph),)))
    parents = asked.graph[:, 1:]
    renamed = asked.graph.at[:, 1:].set(jnp.where(parents > 0, new_numbers[parents - 1] + 1, 0))
    graph = jnp.zeros_like(renamed).at[new_numbers].set(renamed)
    return GraphQuery(graph=graph, query=new_numbers[asked.query])


def sample_training_graph(key: Key[Array, ""], num_quantities: int) -> Int[Array, "A 3"]:
    """Draws graphs until one is a training graph; two draws on average."""
    graph_key, shuffle_key = jax.random.split(key)
    graph = _draw_until(lambda graph: ~is_test_graph(graph), graph_key, num_quantities)
    return shuffle_quantities(shuffle_key, GraphQuery(graph=graph, query=jnp.int32(0))).graph


def sample_test_query(key: Key[Array, ""], num_quantities: int, min_steps: int, max_steps: int) -> GraphQuery:
    """Draws the number of necessary derivations uniformly, then test graphs until one has such a quantity."""
    steps_key, graph_key, query_key, shuffle_key = jax.random.split(key, 4)
    num_steps = jax.random.randint(steps_key, (), min_steps, max_steps + 1)

    def is_wanted(graph):
        return is_test_graph(graph) & (count_necessary(graph) == num_steps).any()

    graph = _draw_until(is_wanted, graph_key, num_quantities)
    scores = jax.random.uniform(query_key, (num_quantities,))
    query = jnp.argmax(jnp.where(count_necessary(graph) == num_steps, scores, -1.0)).astype(jnp.int32)
    return shuffle_quantities(shuffle_key, GraphQuery(graph=graph, query=query))


def _draw_until(
    is_wanted: Callable[[Int[Array, "A 3"]], Bool[Array, ""]], key: Key[Array, ""], num_quantities: int
) -> Int[Array, "A 3"]:
    def is_unfinished(carry):
        return ~carry[2]

    def draw_again(carry):
        graph = draw_graph(jax.random.fold_in(key, carry[0]), num_quantities)
        return carry[0] + 1, graph, is_wanted(graph)

    nothing = (jnp.int32(0), jnp.zeros((num_quantities, 3), jnp.int32), jnp.bool_(False))
    return jax.lax.while_loop(is_unfinished, draw_again, nothing)[1]
