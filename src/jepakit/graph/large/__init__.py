"""One graph larger than memory: a store on disk, batches of its nodes, embeddings layer by layer."""
