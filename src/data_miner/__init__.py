"""data-miner: mines image datasets out of video."""

__version__ = "0.1.0"
