"""All CUDA kernels of the engine: parameters, C code for one element, and the function that each must equal.

``inputs`` and ``outputs`` follow CuPy's ElementwiseKernel: ``raw`` parameters are whole arrays with flat indices, all
others are broadcast, and ``i`` is the index of the element. Outputs passed as arguments are written in place.
``equals`` names the function whose values or gradients the kernel computes; a contract test compares the two. The
``operation`` of a dual reduction is the pair of expressions whose sums it returns.
"""

from typing import NamedTuple


class Kernel(NamedTuple):
    """A row of the table: parameters, results, C code for one element, and the function it must equal."""

    inputs: str
    outputs: str
    operation: str
    equals: str


RECTIFIED = "auto rectified = [](T v) { return v < 0 ? (T)0 : v; }"  # v > 0 ? v : 0 would turn NaN into 0

TABLE = {
    # ----------------------------------------------------------------------------------------- element by element
    "sigmoid": Kernel(
        "T x", "T y", "T e = exp(x < 0 ? x : -x); y = (x < 0 ? e : (T)1) / (1 + e)",
        "ops.sigmoid",
    ),
    "sigmoid_backward": Kernel(
        "T dy, T x", "T dx", "T e = exp(x < 0 ? x : -x); dx = dy * (e / ((1 + e) * (1 + e)))",
        "ops.sigmoid_backward",
    ),
    "relu_backward": Kernel(
        "T dy, T x", "T dx", "dx = x > 0 ? dy : (T)0",
        "ops.relu_backward",
    ),
    "relu_backward_of_sum": Kernel(
        "T dy, T extra, T x", "T dx", "dx = x > 0 ? dy + extra : (T)0",
        "ops.relu_backward",
    ),
    # -------------------------------------------------------------------------- maps a x + b y + c, and their windows
    "affine_maps": Kernel(
        "{inputs}", "T out", RECTIFIED + "; out = {formula}",
        "ops.normalize",
    ),
    "windows": Kernel(
        "{inputs}, int32 images, int32 first, int32 rows, int32 columns, int32 kh, int32 kw, int32 stride, int32 ph, "
        "int32 pw, int32 H, int32 W, int32 C, int32 size",
        "T out",
        RECTIFIED + """;
        long long rest = i;
        long long channel = rest % size; rest /= size;
        long long right = rest % kw; rest /= kw;
        long long down = rest % kh; rest /= kh;
        long long column = (rest % columns) * stride + right - pw; rest /= columns;
        long long row = (first + rest % rows) * stride + down - ph; rest /= rows;
        long long image = rest % images; channel += rest / images * size;
        long long own = image * C + channel;
        long long pixel = ((image * H + row) * W + column) * C + channel;
        out = 0 <= row && row < H && 0 <= column && column < W ? {formula} : (T)0
        """,
        "ops.conv2d",
    ),
    # --------------------------------------------------------------------------------------------- batch normalisation
    "sums_about": Kernel(
        "T x, T pivot", "", "x - pivot, (x - pivot) * (x - pivot)",
        "ops.batch_statistics",
    ),
    "sums_with": Kernel(
        "T dy, T x, T centre", "", "dy, dy * (x - centre)",
        "ops.batch_norm_backward",
    ),
    "finalize_moments": Kernel(
        "raw T pivot, raw T off, raw T squares, T gamma, T beta, int32 groups, float64 count, float64 m, float64 eps",
        "T mean, T var, T unbiased, T a, T c",
        """
        double sum = 0, square = 0;
        #pragma unroll 8
        for (int g = 0; g < groups; ++g) sum += count * pivot[g * _ind.size() + i] + off[g * _ind.size() + i];
        #pragma unroll 8
        for (int g = 0; g < groups; ++g) {
            double e = off[g * _ind.size() + i] / count, d = pivot[g * _ind.size() + i] + e - sum / m;
            square += squares[g * _ind.size() + i] + count * (d * d - e * e);
        }
        mean = sum / m;
        var = square / m;
        unbiased = square / (m > 1 ? m - 1 : m);
        a = gamma / sqrt(var + (T)eps);
        c = beta - mean * a
        """,
        "ops.batch_statistics",
    ),
    "scale_and_shift": Kernel(
        "T mean, T var, T gamma, T beta, float64 eps",
        "T a, T c",
        "a = gamma / sqrt(var + (T)eps); c = beta - mean * a",
        "ops.normalize",
    ),
    "bn_grad_coefficients": Kernel(
        "raw T sum_dy, raw T sum_dyx, T mean, T var, T gamma, int32 groups, float64 m, float64 eps",
        "T a, T b, T c, T dgamma, T dbeta",
        """
        double sum = 0, product = 0;
        #pragma unroll 8
        for (int g = 0; g < groups; ++g) {
            sum += sum_dy[g * _ind.size() + i];
            product += sum_dyx[g * _ind.size() + i];
        }
        T root = 1 / sqrt(var + (T)eps);
        dbeta = sum;
        dgamma = product * root;
        a = gamma * root;
        b = -root * dgamma / m;
        c = -dbeta / m - b * mean
        """,
        "ops.batch_norm_backward",
    ),
    "update_running": Kernel(
        "T batch, float64 momentum", "T running", "running += (T)momentum * (batch - running)",
        "layers.update_running",
    ),
    # ---------------------------------------------------------------------------------------------------- the SE block
    "squeezed": Kernel(
        "T total, T about, T a, T c, float64 pixels",
        "T images, T z",
        "images = total / pixels + about; z = a * images + c",
        "se.squeeze",
    ),
    "excite_hidden": Kernel(
        "raw T z, raw T W1, T b1, int32 R, int32 C",
        "T h",
        """
        T sum = b1;
        for (int k = 0; k < C; ++k) sum += z[i / R * C + k] * W1[i % R * C + k];
        h = sum < 0 ? (T)0 : sum
        """,
        "se.excite",
    ),
    "excite_gates": Kernel(
        "raw T h, raw T W2, T b2, T a, T c, int32 R, int32 C",
        "T s, T sa, T sc",
        """
        T sum = b2;
        for (int j = 0; j < R; ++j) sum += h[i / C * R + j] * W2[i % C * R + j];
        T e = exp(sum < 0 ? sum : -sum);
        s = (sum < 0 ? e : (T)1) / (1 + e);
        sa = s * a;
        sc = s * c
        """,
        "se.excite",
    ),
    "through_gates": Kernel(
        "T sum_dy, T sum_dyx, T a, T beta, T s", "T da2", "da2 = (a * sum_dyx + beta * sum_dy) * s * (1 - s)",
        "se.excite_backward",
    ),
    "through_hidden": Kernel(
        "raw T da2, raw T W2, T h, int32 R, int32 C",
        "T da1",
        """
        T sum = 0;
        for (int k = 0; k < C; ++k) sum += da2[i / R * C + k] * W2[k * R + i % R];
        da1 = h > 0 ? sum : (T)0
        """,
        "se.excite_backward",
    ),
    "through_squeeze": Kernel(
        "raw T da1, raw T W1, T s, T sum_dy, T sum_dyx, T images, T mean, int32 R, int32 C, float64 pixels",
        "T shift, T sum_dv, T sum_dvx",
        """
        T dz = 0;
        for (int j = 0; j < R; ++j) dz += da1[i / C * R + j] * W1[j * C + i % C];
        shift = dz / pixels;
        sum_dv = s * sum_dy + dz;
        sum_dvx = s * sum_dyx + dz * (images - mean)
        """,
        "se.excite_backward",
    ),
    # -------------------------------------------------------------------------------------------------------- the loss
    "log_sum_exp": Kernel(
        "raw T x, int32 K",
        "T out",
        """
        T high = x[i * K], total = 0;
        for (int k = 1; k < K; ++k) high = x[i * K + k] > high ? x[i * K + k] : high;
        for (int k = 0; k < K; ++k) total += exp(x[i * K + k] - high);
        out = high + log(total)
        """,
        "ops.softmax_cross_entropy",
    ),
    "cross_entropy_rows": Kernel(
        "T log_total, L label, raw T x, int32 N, int32 K, float64 smoothing",
        "T loss",
        """
        T sum = (T)(1 - smoothing) * (log_total - x[i * K + label]);
        if (smoothing) for (int k = 0; k < K; ++k) sum += (T)(smoothing / K) * (log_total - x[i * K + k]);
        loss = sum / N
        """,
        "ops.softmax_cross_entropy",
    ),
    "cross_entropy_backward": Kernel(
        "T x, T log_total, L label, int32 K, float64 smoothing, float64 share",
        "T dx",
        "dx = (T)share * (exp(x - log_total) - (T)((i % K == label ? 1 - smoothing : 0) + smoothing / K))",
        "ops.softmax_cross_entropy_backward",
    ),
    # ------------------------------------------------------------------------------------- the optimiser and the data
    "sgd_step": Kernel(
        "T g, float64 lr, float64 momentum, float64 decay, int32 nesterov",
        "T w, T v",
        """
        T grad = g + (T)decay * w;
        v = (T)momentum * v + grad;
        w -= (T)lr * (nesterov ? grad + (T)momentum * v : v)
        """,
        "optim.SGD",
    ),
    "crop": Kernel(
        "raw I images, raw L index, raw M top, raw M left, raw bool flip, raw T scale, raw T shift, "
        "int32 Hp, int32 Wp, int32 H, int32 W, int32 C",
        "T X",
        """
        long long c = i % C, w = i / C % W, h = i / C / W % H, n = i / C / W / H;
        long long column = left[n] + (flip[n] ? W - 1 - w : w);
        X = scale[c] * images[((index[n] * Hp + top[n] + h) * Wp + column) * C + c] + shift[c]
        """,
        "data.batches.Images",
    ),
}  # fmt: skip
