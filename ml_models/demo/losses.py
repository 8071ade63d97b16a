"""The training losses, each against the exact truth of a batch of frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from demo.model import GRID_HEIGHT, GRID_WIDTH, TinyModel, thumbnail
from demo.pool import CENTRE_X, COLOUR, HEIGHT, MAIN, VISIBLE, WIDTH
from demo.vocabulary import ANY, Look

HALF_HIDDEN, MOSTLY_HIDDEN = 0.5, 0.35
NEAR, FAR, STEEPNESS = 0.93, 0.80, 25
LOOK_ALIKE = 0.2


@dataclass(frozen=True)
class Batch:
    """frames float (B, 3, H, W) in -1..1; things (B, M, 9); scene ids (B,); occupied bool (B,)."""

    frames: Tensor
    things: Tensor
    scenes: Tensor
    occupied: Tensor

    @property
    def present(self) -> Tensor:
        return self.things[..., COLOUR] >= 0


def match_looks(batch: Batch, looks: list[Look]) -> Tensor:
    """bool (B, M, K): whether a thing is meant by a phrase."""
    wanted = torch.tensor(looks)
    hit = batch.present[..., None].expand(-1, -1, len(looks)).clone()
    for attribute in range(3):
        have = batch.things[..., attribute, None]
        hit &= (have == wanted[:, attribute]) | (wanted[:, attribute] == ANY)
    return hit


def image_loss(
    model: TinyModel, images: Tensor, texts: Tensor, batch: Batch, hit: Tensor
) -> Tensor:
    """Sigmoid loss of every image with every phrase; only main things count.

    A main thing that is more than half hidden gives no opinion for or against its phrases.
    """
    visible = batch.things[..., VISIBLE, None]
    main = hit & (batch.things[..., MAIN, None] > 0)
    target = (main & (visible >= HALF_HIDDEN)).any(1).float()
    weight = (~(main & (visible < HALF_HIDDEN)).any(1)).float()
    logits = model.log_scale[0].exp() * (images @ texts.T) + model.bias[0]
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (loss * weight).sum() / target.sum().clamp(min=1)


@dataclass(frozen=True)
class Assignment:
    """Which thing each token (B, N) stands for: the smallest whose middle covers its centre."""

    thing: Tensor
    assigned: Tensor
    weight: Tensor
    """One over the root of the thing's token count, so that small things count as well."""

    def gather(self, values: Tensor) -> Tensor:
        """(B, M, C) per thing to (B, N, C) per token."""
        return torch.gather(values, 1, self.thing[..., None].expand(-1, -1, values.shape[-1]))


def assign_tokens(model: TinyModel, batch: Batch) -> Assignment:
    boxes = batch.things[..., CENTRE_X : HEIGHT + 1]
    usable = batch.present & (batch.things[..., VISIBLE] >= MOSTLY_HIDDEN)
    offset_x = (model.centres[0, 0] - boxes[..., 0, None]).abs()
    offset_y = (model.centres[0, 1] - boxes[..., 1, None]).abs()
    inside = offset_x < (boxes[..., 2, None] * 0.25).clamp(min=0.5 / GRID_WIDTH)
    inside &= offset_y < (boxes[..., 3, None] * 0.25).clamp(min=0.5 / GRID_HEIGHT)
    inside &= usable[..., None]
    area = (batch.things[..., WIDTH] * batch.things[..., HEIGHT])[..., None].expand_as(offset_x)
    smallest, thing = torch.where(inside, area, torch.inf).min(1)
    assigned = smallest.isfinite()
    tokens_of = torch.zeros(boxes.shape[:2]).scatter_add_(1, thing, assigned.float())
    share = torch.gather(tokens_of, 1, thing).clamp(min=1).rsqrt()
    return Assignment(thing, assigned, torch.where(assigned, share, 1.0))


def class_loss(
    model: TinyModel, vectors: Tensor, texts: Tensor, hit: Tensor, assignment: Assignment
) -> Tensor:
    """Focal loss of every token with every phrase."""
    target = assignment.gather(hit.float()) * assignment.assigned[..., None]
    logits = model.log_scale[1].exp() * (vectors.transpose(1, 2) @ texts.T) + model.bias[1]
    weight = assignment.weight[..., None]
    return _focal(logits, target, weight) / (target * weight).sum().clamp(min=1)


def objectness_loss(logits: Tensor, assignment: Assignment) -> Tensor:
    target = assignment.assigned.float()
    total = (target * assignment.weight).sum().clamp(min=1)
    return _focal(logits, target, assignment.weight) / total


def _focal(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    surprise = (target - torch.sigmoid(logits.detach())) ** 2
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (surprise * loss * weight).sum()


def box_loss(predicted: Tensor, batch: Batch, assignment: Assignment) -> Tensor:
    """L1 and generalised IoU of the assigned tokens' boxes (B, 4, N)."""
    truth = assignment.gather(batch.things[..., CENTRE_X : HEIGHT + 1])[assignment.assigned]
    found = predicted.transpose(1, 2)[assignment.assigned]
    distance = 20 * (found - truth).abs().mean(1) + 2 * (1 - _generalised_iou(found, truth))
    return (_shares(assignment) * distance).sum()


def attribute_loss(logits: Tensor, batch: Batch, assignment: Assignment) -> Tensor:
    """Naming each assigned token's colour, shape and texture; logits (B, 19, H, W)."""
    truth = assignment.gather(batch.things[..., :3])[assignment.assigned].long()
    named = logits.flatten(2).transpose(1, 2)[assignment.assigned].split((8, 8, 3), 1)
    losses = [F.cross_entropy(n, t, reduction="none") for n, t in zip(named, truth.T, strict=True)]
    return (_shares(assignment) * torch.stack(losses).sum(0)).sum()


def _shares(assignment: Assignment) -> Tensor:
    weight = assignment.weight[assignment.assigned]
    return weight / weight.sum()


def _generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    a_low, a_high = a[:, :2] - a[:, 2:] / 2, a[:, :2] + a[:, 2:] / 2
    b_low, b_high = b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2
    common = (torch.minimum(a_high, b_high) - torch.maximum(a_low, b_low)).clamp(min=0).prod(1)
    union = a[:, 2:].prod(1) + b[:, 2:].prod(1) - common
    hull = (torch.maximum(a_high, b_high) - torch.minimum(a_low, b_low)).prod(1)
    return common / union - (hull - union) / hull


def dedup_loss(vectors: Tensor, batch: Batch) -> Tensor:
    """Views of one scene above NEAR, of different scenes below FAR.

    Empty scenes that look alike are neither: nobody could tell whether they are duplicates.
    """
    cosine = vectors @ vectors.T
    same = batch.scenes[:, None] == batch.scenes[None]
    small = thumbnail(batch.frames)
    alike = (small[:, None] - small[None]).abs().amax(-1) < LOOK_ALIKE
    both_empty = ~batch.occupied[:, None] & ~batch.occupied[None]
    itself = torch.eye(len(vectors), dtype=torch.bool)
    pull, push = same & ~itself, ~same & ~(alike & both_empty)
    pulled = F.softplus(-STEEPNESS * (cosine - NEAR))[pull]
    pushed = F.softplus(STEEPNESS * (cosine - FAR))[push]
    return pulled.mean() + pushed.sum() / pull.sum()
