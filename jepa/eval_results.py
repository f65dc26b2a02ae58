"""What `eval.py RUN` leaves behind: results, and on request a page, figures, and TensorBoard's view of them."""

from jepa.agents.latent_planner import LatentPlanner
from jepa.cli import EvalCommand
from jepa.console import print_report
from jepa.figures.latent_states import gather_states
from jepa.figures.run_figures import write_run_figures
from jepa.figures.tensorboard_evaluation import show_evaluation
from jepa.page.page import write_page
from jepa.report import Report, write_report
from jepa.runs import Run


def write_results(report: Report, run: Run, command: EvalCommand) -> None:
    """Writes the results, prints them, and makes pictures of them where they were asked for.

    Raises:
      ValueError: the disk does not take them, or there is nothing to draw.
    """
    output = command.output_dir
    path = write_report(report, output)
    print_report(report, command.experiment.env)
    print(f"\nWritten to {path} and {output / 'records.jsonl'}")
    if command.html:
        write_page(run, report, output / "page.html")
        print(f"Plans to watch: open {output / 'page.html'} in a browser")
    states = None
    if (command.figures or command.tensorboard) and isinstance(run.experiment.agent, LatentPlanner):
        states = gather_states(run, report.problems, report.records)
    if command.figures:
        paths = write_run_figures(run, report, states, output / "figures")
        print(f"Figures: {', '.join(path.name for path in paths if path.suffix == '.pdf')} in {output / 'figures'}")
    if command.tensorboard:
        show_evaluation(run, report, states, output / "tensorboard" / "evaluation")
        print(f"Plans and latents in TensorBoard: tensorboard --logdir {output / 'tensorboard'}")
