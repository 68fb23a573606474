"""Using a run: searching, HTTP, re-ranking, export, retrievers for LangChain and LlamaIndex."""
