"""NeuraScale: the self-hosted brain-computer-interface lab."""

__version__ = "1.0.0"
