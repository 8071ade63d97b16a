"""From nothing to weights in one run: python -m demo.train OUT [--pool-cache FILE]."""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from demo import losses
from demo.losses import Batch
from demo.model import TinyModel
from demo.phrases import sample_looks, sample_wording, train_tokenizer
from demo.pool import CENTRE_X, FRAMES_PER_SCENE, Pool, load_pool
from demo.vocabulary import Look

SCENES, STEPS = 5000, 1800
NEIGHBOURS, PHRASES = 32, 64
LEARNING_RATE = 3e-3


class Sampler:
    """Random batches: pairs of neighbouring scenes, each scene in two views."""

    def __init__(self, pool: Pool) -> None:
        self.views = torch.from_numpy(pool.views)
        self.things = torch.from_numpy(pool.things)
        self.occupied = torch.from_numpy(pool.occupied)
        self.rng = np.random.default_rng(0)

    def batch(self, step: int) -> Batch:
        count = len(self.views)
        # Odd and even steps pair a scene with its other neighbour.
        first = self._integers(count // 2, NEIGHBOURS) * 2 + step % 2
        scenes = torch.stack([first, first + 1], 1).flatten().repeat(2) % count
        size = len(scenes)
        frame, view = self._integers(FRAMES_PER_SCENE, size), self._integers(2, size)
        pixels = self.views[scenes, view, frame].permute(0, 3, 1, 2).float() / 127.5 - 1
        things = self.things[scenes, frame].clone()
        if self.rng.random() < 0.5:
            pixels = pixels.flip(-1)
            centre = things[..., CENTRE_X]
            things[..., CENTRE_X] = torch.where(things[..., 0] >= 0, 1 - centre, centre)
        gain = torch.rand(size, 1, 1, 1) * 0.2 + 0.9
        shift = torch.rand(size, 1, 1, 1) * 0.06 - 0.03
        pixels = ((pixels + 1) * gain - 1 + shift).clamp(-1, 1)
        return Batch(
            pixels.contiguous(memory_format=torch.channels_last),
            things,
            scenes,
            self.occupied[scenes],
        )

    def _integers(self, limit: int, size: int) -> Tensor:
        return torch.from_numpy(self.rng.integers(0, limit, size))


def compute_losses(
    model: TinyModel, tokenizer: Tokenizer, batch: Batch, rng: random.Random
) -> dict[str, Tensor]:
    """The six losses of one batch, weighted."""
    rows = batch.things[batch.present][:, :3].int().tolist()
    looks = sample_looks(rng, [Look(*row) for row in rows], PHRASES)
    words = tokenizer.encode_batch([sample_wording(rng, wanted) for wanted in looks])
    texts = model.text(torch.tensor([encoding.ids for encoding in words]))
    hit = losses.match_looks(batch, looks)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens = model.trunk(batch.frames)
    tokens = tokens.float()
    images, vectors = model.image_vectors(tokens)
    boxes, objectness = model.boxes(tokens)
    assignment = losses.assign_tokens(model, batch)
    dedup = model.dedup_vector(batch.frames, tokens)
    return {
        "image": 1.5 * losses.image_loss(model, images, texts, batch, hit),
        "class": losses.class_loss(model, vectors, texts, hit, assignment),
        "object": losses.objectness_loss(objectness, assignment),
        "box": losses.box_loss(boxes, batch, assignment),
        "attribute": 0.5 * losses.attribute_loss(model.attributes(tokens), batch, assignment),
        "dedup": 0.5 * losses.dedup_loss(dedup, batch),
    }


def make_optimiser(
    model: TinyModel, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": 0.03},
        {"params": others, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, LEARNING_RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    return optimiser, schedule


def train(out: Path, pool_cache: Path | None, scenes: int, steps: int) -> None:
    """Write tokenizer.json, weights.pt and train.json (what it cost) into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    torch.manual_seed(0)
    rng = random.Random(0)
    started = time.monotonic()
    sampler = Sampler(load_pool(scenes, pool_cache))
    tokenizer = train_tokenizer(out / "tokenizer.json")
    model = TinyModel(tokenizer.get_vocab_size()).to(memory_format=torch.channels_last)
    optimiser, schedule = make_optimiser(model, steps)
    for step in range(steps):
        parts = compute_losses(model, tokenizer, sampler.batch(step), rng)
        optimiser.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            figures = " ".join(f"{name} {loss:.3f}" for name, loss in parts.items())
            print(f"step {step}: {figures} ({time.monotonic() - started:.0f} s)", flush=True)
    torch.save(model.state_dict(), out / "weights.pt")
    cost = {
        "steps": steps,
        "scenes": scenes,
        "parameters": sum(p.numel() for p in model.parameters()),
        "cpu_seconds": round(sum(os.times()[:4])),
        "wall_seconds": round(time.monotonic() - started),
    }
    (out / "train.json").write_text(json.dumps(cost, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo models.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--pool-cache", type=Path, help="keep the drawn pool here between runs")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--steps", type=int, default=STEPS)
    wish = parser.parse_args()
    train(wish.out, wish.pool_cache, wish.scenes, wish.steps)


if __name__ == "__main__":
    main()
