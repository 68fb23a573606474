"""The guard inside of agent libraries: LangGraph, LangChain, OpenAI Agents. Each module needs the extra of its own."""
