"""Everything in one go: python -m demo.build OUT [--ship] trains, exports, measures, writes cards.

The bundle lies in OUT/bundle; with --ship it also replaces the one inside data_miner_models.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from data_miner_models.cards import BUNDLED, list_cards, verify
from demo.cards import write_bundle
from demo.evaluate import evaluate
from demo.export import export
from demo.train import SCENES, STEPS, train

MOST_BYTES = 3_000_000


def build(out: Path, pool_cache: Path | None, *, ship: bool) -> None:
    started = time.monotonic()
    train(out, pool_cache, SCENES, STEPS)
    finish(out, ship=ship)
    print(f"built in {(time.monotonic() - started) / 60:.1f} minutes")


def finish(out: Path, *, ship: bool) -> None:
    """From trained weights to verified cards."""
    export(out)
    write_bundle(out, out / "bundle")
    evaluate(out)
    for target in [out / "bundle", *([BUNDLED] if ship else [])]:
        write_bundle(out, target)
        size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
        if size > MOST_BYTES:
            raise RuntimeError(f"{target} has {size} bytes, more than {MOST_BYTES}")
    for card in list_cards([out / "bundle"]):
        verify(card)
        print(f"{card.name}: digest {card.digest}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the demo models from nothing.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--pool-cache", type=Path, help="keep the drawn pool here between runs")
    parser.add_argument("--ship", action="store_true", help="replace the bundled models")
    parser.add_argument("--trained", action="store_true", help="OUT has weights: skip training")
    wish = parser.parse_args()
    if wish.trained:
        finish(wish.out, ship=wish.ship)
    else:
        build(wish.out, wish.pool_cache, ship=wish.ship)


if __name__ == "__main__":
    main()
