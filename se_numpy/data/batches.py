"""From stored bytes to the batch a network sees: crop, flip, normalise, by indices drawn on the host."""

from dataclasses import dataclass

import numpy as np

from se_numpy.backend import Array, array_module, device_module

PAD = 4  # zeros around an image before it is cropped again (He et al., CVPR 2016, section 4.2)


@dataclass(frozen=True)
class Draws:
    """What chance decided for one epoch: the order of the images, where each is cropped, whether it is flipped."""

    order: np.ndarray
    top: np.ndarray
    left: np.ndarray
    flip: np.ndarray


def draw(rng: np.random.Generator, n: int, *, augment: bool) -> Draws:
    """One epoch's chances for n images, on the host, so that CPU and GPU see the same batches."""
    order = rng.permutation(n)
    if not augment:
        return Draws(order, np.full(n, PAD), np.full(n, PAD), np.zeros(n, bool))
    return Draws(order, rng.integers(0, 2 * PAD + 1, n), rng.integers(0, 2 * PAD + 1, n), rng.random(n) < 0.5)


@dataclass(frozen=True)
class Normalisation:
    """x = (byte / 255 - mean) / std by channel, mean and std those of the training images."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray) -> "Normalisation":
        """mean and std (C,) over all pixels of images (N, H, W, C) uint8, from counts, so exactly."""
        counts = np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[-1])])
        levels = np.arange(256) / 255
        mean = counts @ levels / counts.sum(1)
        var = (counts * (levels - mean[:, None]) ** 2).sum(1) / counts.sum(1)
        return cls(mean, np.sqrt(np.maximum(var, 1e-12)))

    def __call__(self, images: Array, dtype: type = np.float32) -> Array:
        """images (..., C) uint8 -> (..., C) of ``dtype``, on the device where they lie."""
        xp = array_module(images)
        scale = xp.asarray(1 / (255 * self.std), dtype)
        shift = xp.asarray(-self.mean / self.std, dtype)
        x = images.astype(dtype)
        x *= scale
        x += shift
        return x


class Images:
    """A labelled set on a device, as bytes, and the batches cut from it.

    images (N, H, W, C) uint8, labels (N,) integers; the labels' range is the caller's to check, once, on the host.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, normalise: Normalisation, device: str = "cpu") -> None:
        xp = device_module(device)
        _, self.H, self.W, _ = images.shape
        around = ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0))
        self.padded = xp.asarray(np.pad(images, around))
        self.labels = xp.asarray(labels)
        self.normalise = normalise

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, draws: Draws, part: slice) -> tuple[Array, Array]:
        """X (B, H, W, C) float32 and labels (B,) of this part of the epoch: one gather, then the normalisation."""
        xp = array_module(self.labels)
        index, top, left, flip = (
            xp.asarray(a[part]) for a in (draws.order, draws.top, draws.left, draws.flip)
        )  # fmt: skip
        across = xp.arange(self.W)
        rows = top[:, None] + xp.arange(self.H)
        columns = left[:, None] + xp.where(flip[:, None], self.W - 1 - across, across)
        X = self.padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]
        return self.normalise(X), self.labels[index]

    def in_order(self, part: slice) -> tuple[Array, Array]:
        """X and labels of these images as they are, for evaluation."""
        return self.normalise(self.padded[part, PAD : PAD + self.H, PAD : PAD + self.W]), self.labels[part]
