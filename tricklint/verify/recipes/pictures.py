"""Generated pictures of pills, and scikit-learn's digits: the data of the recipes. Nothing is downloaded."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

SIZE = 24
MARKS = ("none", "line", "cross", "dot")
# 24 kinds of pill: (aspect, roundness, hue, mark). The even ones are the old catalogue, the odd ones the new.
KINDS = [
    (aspect, roundness, 0.055 * ((3 * i + j) % 18), MARKS[(i + j) % 4])
    for i, (aspect, roundness) in enumerate([(1.0, 2.0), (1.4, 2.0), (1.8, 2.5), (1.0, 4.0), (1.4, 4.0), (1.8, 4.0)])
    for j in range(4)
]


def draw(kinds: np.ndarray, stained: np.ndarray, seed: int) -> Tensor:
    """Pictures of shape (n, 3, SIZE, SIZE), normalised to about zero mean and unit variance.

    `kinds` (n,) indexes KINDS; `stained` (n,) of bool puts a dark stain on the pill.
    """
    rng = np.random.default_rng(seed)
    n = len(kinds)

    def pick(part: int) -> np.ndarray:
        return np.array([KINDS[k][part] for k in kinds])[:, None, None]

    y, x = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE), indexing="ij")
    angle = rng.uniform(0, np.pi, (n, 1, 1))
    scale = rng.uniform(0.45, 0.65, (n, 1, 1))
    dx, dy = rng.uniform(-0.12, 0.12, (2, n, 1, 1))
    u = ((x - dx) * np.cos(angle) + (y - dy) * np.sin(angle)) / scale
    v = (-(x - dx) * np.sin(angle) + (y - dy) * np.cos(angle)) / scale * pick(0).astype(float)
    roundness, mark = pick(1).astype(float), pick(3)
    radius = np.abs(u) ** roundness + np.abs(v) ** roundness
    body = (radius < 1)[:, None]
    line = (np.abs(u) < 0.13) & ((mark == "line") | (mark == "cross"))
    cross = (np.abs(v) < 0.13) & (mark == "cross")
    dot = (u**2 + v**2 < 0.09) & (mark == "dot")
    imprint = ((line | cross | dot) & (radius < 0.7))[:, None]
    hue = pick(2).astype(float)[:, :, 0] + rng.normal(0, 0.02, (n, 1))
    colour = (0.6 + 0.35 * np.cos(2 * np.pi * (hue + np.array([0, 1 / 3, 2 / 3]))))[:, :, None, None]
    picture = np.where(body, colour * (1 - 0.45 * imprint), 0.3)
    where = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    stain = (u - 0.5 * np.cos(where)) ** 2 + (v - 0.5 * np.sin(where)) ** 2 < 0.15
    stain = stain & (radius < 1) & stained[:, None, None]
    picture = np.where(stain[:, None], 0.1, picture) * rng.uniform(0.7, 1.1, (n, 1, 1, 1))
    picture = (picture + rng.normal(0, 0.06, picture.shape)).clip(0, 1)
    return torch.from_numpy(((picture - 0.45) / 0.25).astype(np.float32))


def pills(kinds: list[int], samples: int, seed: int, stained: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """(pictures, label in 0…len(kinds)-1, stained as 0. or 1.) of `samples` pills of these kinds."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, len(kinds), samples)
    stain = rng.random(samples) < stained
    return (
        draw(np.array(kinds)[label], stain, seed + 1),
        torch.from_numpy(label),
        torch.from_numpy(stain.astype(np.float32)),
    )


@functools.cache
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """scikit-learn's 1,797 digits: 1,000 to train and 797 to test, (n, 1, 8, 8), always the same split."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    x = torch.from_numpy(((found.images[order] - 4.88) / 6.02).astype(np.float32))[:, None]
    y = torch.from_numpy(found.target[order].astype(np.int64))
    return x[:1000], y[:1000], x[1000:], y[1000:]
