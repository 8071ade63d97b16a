"""The Kubernetes operator of data-miner."""
