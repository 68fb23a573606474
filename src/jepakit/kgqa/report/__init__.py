"""What a report says of answers: where they fail, and examples with their subgraphs."""
