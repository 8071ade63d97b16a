"""The worker of data-miner: claims tasks, runs stages, publishes results."""
