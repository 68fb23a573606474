"""How documents are ranked: adapted queries, pseudo-relevance feedback, sentences, and the settings for them."""
