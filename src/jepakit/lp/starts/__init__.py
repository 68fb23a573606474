"""Starts: cached optima, neighbours among the training problems, and the learned family."""
