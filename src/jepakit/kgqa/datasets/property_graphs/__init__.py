"""Nodes and edges with properties: files, ladybug, Neo4j."""
