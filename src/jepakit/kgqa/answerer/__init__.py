"""A language model that reads a retrieved subgraph, as text and through a graph encoder, and answers the question."""
