"""Runs in TensorBoard and MLflow, derived from ``events.jsonl``: a tracker is brought up to date with it.

That is all it ever does, at the first epoch, after a resume, when a server answers again and long after the run, so
nothing is missing or doubled. While a run trains, a process of its own does it: no tracker can slow training, disturb
a random number of it, or end it.
"""
