"""Reasoning domains: dynamics, goals, exact verifiers and solvers; one file each."""
