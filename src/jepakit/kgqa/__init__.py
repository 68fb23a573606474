"""Questions over a knowledge graph: pre-train on the graph, retrieve by meaning, answer with the path shown."""
