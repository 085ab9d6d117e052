"""The generation traces of document 4: what was asked of a model, what it thought, what it cost.

`traces` holds the values that a user's code passes around, `client` and `answers` fill them from
OpenAI's two APIs, `artifacts` writes them into the log. `stored`, `review`, `figures`,
`experiments` and `training` read them back, `storage` lets old prompts and reasoning go,
`migration` is the column in a database of the user's own. Nothing is kept but records of the core.
"""
