"""Measures whence against peers and physical limits, one module for each hot path.

`python -m benchmarks` runs them. `capture`, `imports`, `log`, `archive`, `query` and `loop` each
have a function `measure` that takes a `Bench` and gives frozen figures; `tables` prints figures;
`worker` is what runs inside the environment of a peer.
"""
