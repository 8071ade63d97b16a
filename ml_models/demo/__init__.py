"""How the bundled demo models and the demo clips are made. Nothing here is needed to run data-miner."""
