"""Speed and memory claims, as ratios within one process: ``python -m benchmarks.NAME``."""
