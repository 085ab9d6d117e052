"""Quizzes about Python, made by a model out of the language reference and traced by whence.

`sentences` reads the reference that every CPython ships, `quiz` asks for statements, looks at what
came and puts it together, `server` is a model of rules (`errors`) that speaks OpenAI's Responses
API on loopback when no other is configured.
"""
