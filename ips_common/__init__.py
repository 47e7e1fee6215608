"""Image Prewarm Service: the pure rules and the adapters that the functions share."""

__version__ = "0.1.0"
"""The only place that states the version; everything else asks here."""
