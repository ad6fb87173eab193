"""bpr: masks whose boundaries are right, from any instance segmenter's results."""

__version__ = "0.1.0"
