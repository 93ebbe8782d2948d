"""Who proposes: one module per strategy, each a pure function from a request to a wave.

`table` lists them, `protocol` is what they are asked and answer, `python -m autoresearch.planners`
runs one in a process of its own, so that no controller holds a modelling library in memory.
"""
