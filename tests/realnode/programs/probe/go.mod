module data-miner.io/tests/probe

go 1.26.0
