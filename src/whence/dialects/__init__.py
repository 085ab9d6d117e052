"""The origin systems' own APIs, each a thin translation to the core verbs and the query layer.

One module or package a system. Users import them as `whence.insights`, `whence.images`,
`whence.tokens`, `whence.agents`, `whence.generations` and `whence.research`. None has a store or a
record model of its own; what two of them need is in `shared`.
"""
