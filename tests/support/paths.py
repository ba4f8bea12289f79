"""Where the repository's own files are that tests read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT / "checkpoints" / "ml-100k"
CONFIGS = ROOT / "assets" / "configs"
