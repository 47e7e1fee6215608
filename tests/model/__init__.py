"""The product in memory under every interleaving, crash and outage that a random explorer comes up with.

`actor` runs one function instance that can be stopped between any two of its calls of the outside world, `seat` is how
it sees that world, `world` holds the instances, messages and time, `rule` what must hold, `machine` the explorer.
`python -m tests.model` explores for minutes.
"""
