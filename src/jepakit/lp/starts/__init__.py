"""Where a start comes from: kept optima, neighbours, the learned family, and the choice between them."""
