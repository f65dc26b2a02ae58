"""8-puzzle, our method as shipped: world model, cost on imagined walks, beam search in latents.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

from pathlib import Path

from jepa.config import load_config

config = load_config(Path(__file__).parents[1] / "sliding_tiles.py")
