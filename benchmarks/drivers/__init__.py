"""One module for each recorder.

How it says the 33 records of a run through its own API, and how it is brought up and flushed.

A driver is a class `D`; `base.Driver` says what it has. The peers' own packages are imported in
`setup`, since a driver runs in an environment of its own.
"""
