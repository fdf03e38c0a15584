"""Batches from stored bytes: random augmentation, drawn on the host, then normalisation."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from se_numpy.arrays import Array, array_module, device_module, to_host
from se_numpy.data.array_checks import check_bytes, check_images, check_labels
from se_numpy.data.augmentation import PAD, Draws, cut_out, draw, resized_windows
from se_numpy.engine.cuda import cuda_kernel, has_kernels, launch

__all__ = ["Draws", "Images", "Normalisation", "StoredImages", "draw", "images_of", "slices"]

PIXELS = 128 * 64 * 64  # the most in a batch of an evaluation
LABELS = 2**31  # labels are below this number of classes
IN_MEMORY = 2**29  # bytes; larger sets of images are read batch by batch


def slices(n: int, shape: tuple[int, ...], most: int) -> Iterator[slice]:
    """Return slices that split n images of ``shape`` (H, W, C) into batches of ``most``, or of fewer if they are large.

    A pass over a data set then needs the same memory for images of any size, from 64 x 64 pixels up.
    """
    size = max(1, min(most, PIXELS // (shape[0] * shape[1])))
    return (slice(start, min(n, start + size)) for start in range(0, n, size))


@dataclass(frozen=True)
class Normalisation:
    """Normalisation by channel, x = (byte / 255 - mean) / std, with the mean and std of the training images.

    Raises
    ------
    ValueError
        If mean and std are not one number for each channel, or if a std is not positive.
    """

    mean: np.ndarray
    std: np.ndarray

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            try:
                values = np.asarray(getattr(self, name), np.float64)
            except (TypeError, ValueError):
                values = np.zeros(())
            if values.ndim != 1 or not values.size or not np.isfinite(values).all():
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected a finite number for each channel")
            object.__setattr__(self, name, values)
        if len(self.mean) != len(self.std) or self.std.min() <= 0:
            raise ValueError(f"mean is {self.mean} and std {self.std}; expected a positive std for each mean")

    @classmethod
    def of(cls, images: np.ndarray, rows: np.ndarray | None = None) -> "Normalisation":
        """Compute mean and std (C,) over all pixels of images (N, H, W, C) uint8, from integer counts.

        If ``rows`` are given, only these images are counted.

        Raises
        ------
        TypeError, ValueError
            If these are not images, as ``array_checks.check_images`` says, or if there are none.
        """
        N, H, W, C = check_images("images", images)
        rows = np.arange(N) if rows is None else np.sort(rows)  # in the order of a file, which is read faster
        if not len(rows):
            raise ValueError("got 0 images; expected at least 1")
        counts = np.zeros((C, 256), np.int64)
        some = 1 + 2**18 // (H * W)  # images at a time, because bincount copies its argument to eight bytes a pixel
        for start in range(0, len(rows), some):
            read = images[rows[start : start + some]]
            for c in range(C):
                counts[c] += np.bincount(read[..., c].ravel(), minlength=256)
        levels = np.arange(256) / 255
        mean = counts @ levels / counts.sum(1)
        var = (counts * (levels - mean[:, None]) ** 2).sum(1) / counts.sum(1)
        return cls(mean, np.sqrt(np.maximum(var, 1e-12)))

    def __call__(self, images: Array, dtype: type = np.float32) -> Array:
        """Return normalised images: (..., C) uint8 -> (..., C) of ``dtype``, on the same device.

        Raises
        ------
        TypeError
            If the pixels are not bytes.
        ValueError
            If the number of channels differs.
        """
        check_bytes("images", images)
        self.check_channels(tuple(images.shape))
        scale, shift = self.scale_and_shift(array_module(images), dtype)
        x = images.astype(dtype)
        x *= scale
        x += shift
        return x

    def check_channels(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError unless images of this shape have as many channels as this normalisation."""
        C = len(self.mean)
        if shape[-1:] != (C,):
            first = ": images.transpose(0, 2, 3, 1)" if len(shape) == 4 and shape[1] == C else ""
            raise ValueError(f"images have shape {shape}; expected {C} channels, last, as in the normalisation{first}")

    def scale_and_shift(self, xp: ModuleType, dtype: type) -> tuple[Array, Array]:
        """Return the coefficients of x = scale · byte + shift, both (C,)."""
        return xp.asarray(1 / (255 * self.std), dtype), xp.asarray(-self.mean / self.std, dtype)


class Images:
    """Labelled images stored as bytes on a device, from which batches are cut.

    images (N, H, W, C) uint8, labels (N,) integers; the caller checks the range of the labels once, on the host.

    Raises
    ------
    TypeError
        If the pixels are not bytes or the labels not integers.
    ValueError
        If the shapes of images, labels and normalisation do not fit together.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, normalise: Normalisation, device: str = "cpu") -> None:
        xp = device_module(device)
        N, self.H, self.W, _ = check_images("images", images)
        normalise.check_channels(images.shape)
        check_labels("labels", labels, N, LABELS, "any network")
        around = ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0))
        self.padded = xp.asarray(np.pad(images, around))
        self.labels = xp.asarray(labels)
        self.normalise = normalise
        self.scale, self.shift = normalise.scale_and_shift(xp, np.float32)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        device = "cpu" if array_module(self.labels) is np else "gpu"
        return f"<Images: {len(self):,} images {self.H}x{self.W}x{self.padded.shape[-1]} on {device}>"

    def batch(self, draws: Draws, part: slice) -> tuple[Array, Array]:
        """Return X (B, H, W, C) float32 and labels (B,) for this part of the epoch."""
        xp = array_module(self.labels)
        d = draws.part(part, xp)
        X = xp.empty((len(d.order), self.H, self.W, len(self.scale)), np.float32)
        if d.window is None:
            (_, Hp, Wp, C), drawn = self.padded.shape, (d.order, d.top, d.left, d.flip)
            _crop(self.padded, *drawn, self.scale, self.shift, Hp, Wp, self.H, self.W, C, X)
        else:
            images = self.padded[:, PAD : PAD + self.H, PAD : PAD + self.W][d.order]
            X[...] = resized_windows(images, d.window, d.flip) * self.scale + self.shift
        if d.cut is not None:
            cut_out(X, d.cut)
        return X, _chosen(self.labels, d.order, X)

    def in_order(self, part: slice) -> tuple[Array, Array]:
        """Return X and labels for a slice of the images, not augmented, for evaluation."""
        return self.normalise(self.padded[part, PAD : PAD + self.H, PAD : PAD + self.W]), self.labels[part]


class StoredImages(Images):
    """Labelled images that stay in the array they are given in, such as one mapped to a file.

    Each batch is read when it is needed; it is the same, bit for bit, as that of ``Images``. ``rows`` are the indices
    of the images that belong to the set, in order.

    Raises
    ------
    TypeError, ValueError
        As ``Images`` does.
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, rows: np.ndarray, normalise: Normalisation, device: str = "cpu"
    ) -> None:  # fmt: skip
        super().__init__(images[:0], labels[:0], normalise, device)
        check_labels("labels", labels, len(images), LABELS, "any network")
        self.images, self.rows, self.device = images, rows, device
        self.all_labels = labels
        self.labels = device_module(device).asarray(labels[rows])

    def batch(self, draws: Draws, part: slice) -> tuple[Array, Array]:
        """Return X (B, H, W, C) float32 and labels (B,) for this part of the epoch."""
        read = self._read(self.rows[to_host(draws.order[part])])
        d = draws.part(part, array_module(self.labels))
        order = array_module(self.labels).arange(len(read))
        return read.batch(Draws(order, *list(vars(d).values())[1:]), slice(None))

    def in_order(self, part: slice) -> tuple[Array, Array]:
        """Return X and labels for a slice of the images, not augmented, for evaluation."""
        return self._read(self.rows[part]).in_order(slice(None))

    def _read(self, rows: np.ndarray) -> Images:
        return Images(self.images[rows], self.all_labels[rows], self.normalise, self.device)


def images_of(
    images: np.ndarray, labels: np.ndarray, normalise: Normalisation, device: str = "cpu",
    rows: np.ndarray | None = None,
) -> Images:  # fmt: skip
    """Return the images with these indices, or all, as a set to take batches from: in memory, or stored if it is large.

    Raises
    ------
    TypeError, ValueError
        As ``Images`` does.
    """
    rows = np.arange(len(images)) if rows is None else rows
    if len(rows) * int(np.prod(images.shape[1:])) > IN_MEMORY:
        return StoredImages(images, labels, rows, normalise, device)
    return Images(images[rows], labels[rows], normalise, device)


def _chosen(labels: Array, index: Array, X: Array) -> Array:
    """Return labels[index] where X is; CuPy's own indexing computes with 64-bit divisions."""
    xp = array_module(labels)
    if not has_kernels(xp, X):
        return labels[index]
    chosen = xp.empty(index.shape, labels.dtype)
    return launch("labels", xp, labels, index, chosen)


@cuda_kernel("crop")
def _crop(
    images: Array, index: Array, top: Array, left: Array, flip: Array, scale: Array, shift: Array,
    Hp: int, Wp: int, H: int, W: int, C: int, X: Array,
) -> None:  # fmt: skip
    """Crop the padded images, flip those for which a flip was drawn, normalise them, and write them to X."""
    xp = array_module(images)
    across = xp.arange(W)
    rows = top[:, None] + xp.arange(H)
    columns = left[:, None] + xp.where(flip[:, None], W - 1 - across, across)
    X[...] = images[index[:, None, None], rows[:, :, None], columns[:, None, :]]
    X *= scale
    X += shift
