"""Agents that explain a module's functions by the functions they call, every request tracked."""
