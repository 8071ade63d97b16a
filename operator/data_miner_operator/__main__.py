"""``python -m data_miner_operator`` is ``data-miner operator``."""

import sys

from data_miner.cli.main import main

sys.argv.insert(1, "operator")
main()
