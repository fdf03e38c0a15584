"""Analysis of trained networks: evaluation, training curves, gates by class and depth, and interventions on gates."""
