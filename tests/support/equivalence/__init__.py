"""Kinds of job, the workers that run them, and what is in Redis then: for the comparison with stock RQ."""
