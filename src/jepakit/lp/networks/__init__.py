"""What the networks compute with: packed batches, sums along sparse matrices, the KKT loss."""
