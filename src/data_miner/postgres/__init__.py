"""A PostgreSQL of one's own inside a home folder: no server, no root and no port needed.

>>> with embedded(Path("~/.data-miner").expanduser()) as url: ...
"""

from data_miner.postgres.server import Server, embedded

__all__ = ["Server", "embedded"]
