"""Questions about Python, in the words people ask them.

Some are about things the language reference does not treat. They stay in: a pipeline is only worth
tracing when it can fail.
"""

from __future__ import annotations

QUESTIONS = (
    "How do I write a context manager for the `with` statement?",
    "Why are default parameter values shared between function calls?",
    "Is it true that a `finally` clause runs even after a `return` statement?",
    "What ways are there to format a number in a string?",
    "How do I make instances of my class hashable?",
    "What is a metaclass and how is it determined?",
    "Does `is` compare the identity of objects while `==` compares their values?",
    "Which kinds of patterns can a `match` statement use?",
    "How do I catch several exceptions with an `except*` clause?",
    "What does the `yield` expression do inside a generator function?",
    "Is a tuple always immutable, even when it contains a mutable list?",
    "What are the options for customizing attribute access on a class?",
    "How do I set a conditional breakpoint in the debugger?",
    "Explain how the `nonlocal` statement differs from `global`.",
    "Can a `lambda` expression contain statements or annotations?",
    "Which string methods remove or strip characters from a string?",
    "How do I define an asynchronous iterator for the `async for` statement?",
    "How does Python resolve names in nested scopes?",
    "Do dictionaries preserve insertion order, and since when?",
    "What alternatives exist for comparing objects and sorting them?",
    "How do I emulate a container type with `__getitem__` and `__len__`?",
    "Why does the `else` clause of a `for` loop exist?",
    "Is the `assert` statement removed when Python runs with optimization?",
    "What are descriptors and how are they invoked?",
    "How do I raise an exception from another exception to chain them?",
    "Which operators bind most tightly, and what is the order of precedence?",
    "What is the difference between `__new__` and `__init__`?",
    "Can slices be assigned to in a mutable sequence?",
    "How do I install a package with pip into a virtual environment?",
    "What is the global interpreter lock?",
    "Is it possible to read a file line by line without loading it into memory?",
    "How do I use `__slots__` to save space in instances?",
)
"""What the pipeline is asked when nobody says otherwise, in this order."""
