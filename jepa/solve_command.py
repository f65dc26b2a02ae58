"""The command line `eval.py solve RUN "R U F'"`: one's own problem, and the plan for it."""

import sys
from collections.abc import Sequence

import numpy as np

from jepa.trained import SolvedProblem, TrainedAgent

USAGE = """usage: python eval.py solve RUN PROBLEM [PROBLEM ...]

RUN is a run folder, such as runs/pocket_cube/seed0. PROBLEM is written as a person would: a scramble such as
"R U F'", a board such as "8 6 7 / 2 5 4 / 3 0 1", numbers and a target such as "23 7 4 9 -> 100", an equation
such as "(a * b)' = b' * a'"."""


def solve_problems(arguments: Sequence[str]) -> int:
    """Prints a plan for each problem.

    Returns:
      The exit status: 0 if every problem was solved, or rightly refuted, and 1 otherwise.

    Raises:
      ValueError: the run or a problem is wrong; the message says what is expected.
    """
    if len(arguments) < 2 or arguments[0].startswith("-"):
        asked = bool(set(arguments) & {"-h", "--help"})
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 1
    folder, *texts = arguments
    agent = TrainedAgent.from_run(folder)
    status = 0
    for text in texts:
        solved = agent.plan(text)
        print(told(agent, solved))
        status |= not (solved.solved or (solved.refutation and not solved.claims_solved))
    return int(status)


def told(agent: TrainedAgent, solved: SolvedProblem) -> str:
    """Returns what happened as text: start, plan, expectations, and the verdict of an exact replay."""
    render = agent.env.render
    lines = [render(solved.states[0]), ""]
    if solved.refutation and not solved.claims_solved:
        return "\n".join([*lines, f"refuted: {solved.refutation}", ""])
    costs = [f"{cost:.1f}" for cost in solved.predicted_costs]
    plan = " ".join(solved.actions) if solved.actions else "nothing to do"
    lines.append(f"plan ({len(solved.actions)} moves, {solved.num_nodes:,} nodes): {plan}")
    if costs:
        lines.append(f"expected to be left: {' '.join(costs)}")
    if solved.solved:
        return "\n".join([*lines, "", render(np.asarray(solved.states[-1])), "", "solved, by an exact replay", ""])
    verdict = "which an exact replay rejects" if solved.claims_solved else "as the agent says itself"
    return "\n".join([*lines, "", f"not solved, {verdict}", ""])
