"""Where knowledge graphs and questions come from."""
