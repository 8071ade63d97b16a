"""How many workers each pool has: decided by pure functions, carried out by `scaler`."""
