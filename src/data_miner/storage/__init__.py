"""Files and objects by URI: immutable, named by their content, durable before they are told of.

`open_store` gives the store of a URI; `reach` says which URIs a user may name.
"""

from data_miner.storage.open import open_store
from data_miner.storage.store import Store, Swept

__all__ = ["Store", "Swept", "open_store"]
