"""Models behind the ``Denoiser`` protocol: families, loading, toys."""
