"""The parts that graph encoders are built from: structural encodings, message-passing layers, readouts."""
