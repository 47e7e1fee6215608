"""What the use cases need from the outside world.

Adapters implement these; tests use the in-memory fakes beside the adapters, which a contract test holds to the same
behaviour. Every call may raise the `TemporaryError` of its own part (`StoreUnavailable`, `BusUnavailable`,
`ClusterUnavailable`) within its timeout; other errors are named.
"""
