"""Relation paths of a graph: what they reach, how they read, and which one a question means."""
