"""One small trunk with three heads: a vector for prompts, boxes for prompts, a vector for dedup.

Every operator keeps a frame's numbers independent of its batch-mates in ONNX Runtime on a CPU: sums
run over the last axis or are convolutions, and channel counts suit the blocked convolution kernels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demo.phrases import TEXT_LENGTH
from demo.pool import INPUT_HEIGHT, INPUT_WIDTH

STRIDE = 8
GRID_HEIGHT, GRID_WIDTH = INPUT_HEIGHT // STRIDE, INPUT_WIDTH // STRIDE
CHANNELS = DIMENSION = 96
DEDUP_DIMENSION = 64
TINY = 1e-12


def unit(vectors: Tensor) -> Tensor:
    """Vectors along the last axis, scaled to length 1."""
    return vectors / (vectors * vectors).sum(-1, keepdim=True).clamp(min=TINY).sqrt()


def normalise(frames: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W) in -1..1."""
    return frames.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1


def _convolution(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Residual(nn.Module):
    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.change = nn.Sequential(
            _convolution(channels, channels, dilation=dilation),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.change(x))


class Attention(nn.Module):
    """A transformer block with four heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = 4
        self.norm_in, self.norm_mid = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.query_key_value(self.norm_in(x))
        parts = parts.reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.narrow(F.gelu(self.widen(self.norm_mid(x))))


class TextTower(nn.Module):
    """int64 (K, TEXT_LENGTH) token ids, 0 for padding, to float32 (K, DIMENSION) unit vectors."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, DIMENSION)
        self.position = nn.Parameter(torch.randn(1, TEXT_LENGTH, DIMENSION) * 0.02)
        self.blocks = nn.ModuleList(Attention(DIMENSION) for _ in range(2))
        self.norm, self.out = nn.LayerNorm(DIMENSION), nn.Linear(DIMENSION, DIMENSION)
        nn.init.normal_(self.embedding.weight, std=0.3)

    def forward(self, ids: Tensor) -> Tensor:
        real = ids != 0
        x = self.embedding(ids) + self.position
        for block in self.blocks:
            x = block(x, real[:, None, None, :])
        weights = real.to(x.dtype)
        weights = (weights / weights.sum(1, keepdim=True))[:, None]
        return unit(self.out((weights @ self.norm(x))[:, 0]))


class TinyModel(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _convolution(3, 32, 2), _convolution(32, 64, 2), Residual(64), _convolution(64, 96, 2)
        )
        self.body = nn.Sequential(*(Residual(CHANNELS, dilation) for dilation in (1, 2, 1, 2, 1)))
        self.class_head = nn.Conv2d(CHANNELS, DIMENSION, 1)
        self.salience = nn.Conv2d(CHANNELS, 1, 1)
        self.objectness = nn.Conv2d(CHANNELS, 1, 1)
        self.box_head = nn.Sequential(
            nn.Conv2d(CHANNELS, CHANNELS, 1), nn.ReLU(), nn.Conv2d(CHANNELS, 4, 1)
        )
        # Names a token's colour, shape and texture: a training signal only, never exported.
        self.attributes = nn.Conv2d(CHANNELS, 8 + 8 + 3, 1)
        self.dedup_features = nn.Conv2d(CHANNELS, 24, 1)
        self.dedup_out = nn.Sequential(
            nn.Linear(24 * 12 + 3 * 48, 192), nn.ReLU(), nn.Linear(192, DEDUP_DIMENSION)
        )
        self.text = TextTower(vocabulary)
        # First the image's, then the tokens'.
        self.log_scale = nn.Parameter(torch.full((2,), math.log(10.0)))
        self.bias = nn.Parameter(torch.full((2,), -5.0))
        nn.init.constant_(self.objectness.bias, -3.0)
        self.register_buffer("ones", torch.ones(1, DIMENSION, 1, 1), persistent=False)
        rows = (torch.arange(GRID_HEIGHT) + 0.5) / GRID_HEIGHT
        columns = (torch.arange(GRID_WIDTH) + 0.5) / GRID_WIDTH
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centres = torch.stack([x, y]).reshape(1, 2, GRID_HEIGHT * GRID_WIDTH)
        self.register_buffer("centres", centres, persistent=False)

    def trunk(self, x: Tensor) -> Tensor:
        return self.body(self.stem(x))

    def image_vectors(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) for the image and (B, D, N) for its tokens; the image's is their weighted sum."""
        vectors = self.class_head(tokens)
        # A sum over channels as a convolution with ones: a reduction here depends on the batch.
        length = F.conv2d(vectors * vectors, self.ones).clamp(min=TINY).sqrt()
        vectors = (vectors / length).flatten(2)
        weights = torch.softmax(self.salience(tokens).flatten(2), -1)
        return unit((vectors * weights).sum(-1)), vectors

    def boxes(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 4, N) centre x, y, width, height as shares of the frame; (B, N) objectness logits."""
        raw = self.box_head(tokens).flatten(2)
        centre = self.centres + torch.tanh(raw[:, :2]) * 0.25
        size = torch.sigmoid(raw[:, 2:] - 1.2)
        return torch.cat([centre, size], 1), self.objectness(tokens).flatten(1)

    def dedup_vector(self, x: Tensor, tokens: Tensor) -> Tensor:
        """(B, DEDUP_DIMENSION) from trunk features beside a raw colour thumbnail of 6 x 8."""
        features = F.avg_pool2d(F.relu(self.dedup_features(tokens)), (3, 4)).flatten(1)
        return unit(self.dedup_out(torch.cat([features, thumbnail(x) * 2], 1)))


def thumbnail(x: Tensor) -> Tensor:
    """(B, 144): mean colours of 6 x 8 cells."""
    return F.avg_pool2d(x, (INPUT_HEIGHT // 6, INPUT_WIDTH // 8)).flatten(1)
