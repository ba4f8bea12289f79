"""Speed, measured against what people would otherwise run: ``ckf bench``."""
