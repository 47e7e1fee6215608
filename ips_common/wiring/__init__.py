"""The one place where settings become adapters; each is made once per process, when first needed.

One module per adapter: a function imports, and so pays at cold start, only for what it uses.
"""
