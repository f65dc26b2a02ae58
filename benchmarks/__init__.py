"""Long measurements, each with a command; results under benchmarks/results/."""
