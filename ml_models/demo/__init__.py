"""How the bundled demo models and the demo clips are made; running data-miner needs none of it."""
