"""Agents that answer questions about Python's own library, each answer a session."""
