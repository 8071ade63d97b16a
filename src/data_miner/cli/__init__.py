"""The program `data-miner`: thin commands over the catalogue, local mode and the worker."""
