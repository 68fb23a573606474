"""The parts that encoders of knowledge graphs are built from."""
