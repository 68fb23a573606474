"""What frozen embeddings of entities are worth: relations of pairs, and links."""
