"""Hydra configuration groups; an ``experiment`` file is the whole record of a run."""
