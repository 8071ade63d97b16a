module data-miner.io/tests/pause

go 1.26.0
