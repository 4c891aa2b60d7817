"""RTS: randomisation and trial supply for blinded clinical trials."""

__version__ = "0.1.0"
