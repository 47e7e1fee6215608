"""Image Prewarm Service: the pure rules and the adapters that the functions share."""
