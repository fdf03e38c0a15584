"""All CUDA kernels of the engine: parameters, C code, and the function that each must equal.

A ``Kernel`` computes one element in each thread: ``i`` is the index of the element, ``raw`` parameters are whole arrays
with flat indices, all others are broadcast. An ``int32`` is a constant of the compiled kernel, a ``float64`` a number
of the call. Outputs passed as arguments are written in place. ``Sums`` are two sums over the pixels of maps, and
``PerImage`` gives every image a block of threads; ``reductions`` has the text around both. ``equals`` names the
function whose values or gradients the kernel computes; a contract test compares the two.
"""

from typing import NamedTuple


class Kernel(NamedTuple):
    """A kernel that computes element by element: parameters, results, and C code for element i."""

    inputs: str
    outputs: str
    operation: str
    equals: str


class Sums(NamedTuple):
    """The sums of u and v, which ``values`` computes for pixel p and ``channel``, where i is the element of the maps.

    The results, for channel i, are computed by ``finish`` from ``sum``, ``square`` (of v) and the number m of pixels.
    Before that, ``part`` may change the sums s and t of one block over ``count`` pixels. With ``about_means``, t is
    then the sum of squares about s / count, and ``square`` is that about the mean of all.
    """

    maps: str
    values: str
    channels: str  # arrays (C,) and numbers
    needed: int  # of them, for the sums alone
    images: str  # the sums of each image
    of_image: str
    outputs: str
    finish: str
    equals: str
    start: str = ""
    part: str = ""
    about_means: bool = False


class PerImage(NamedTuple):
    """A block of threads for each image n: C channels, R hidden units, and two arrays that the threads share."""

    inputs: str
    outputs: str  # those of kind R are (N, R), the others (N, C)
    operation: str
    equals: str


LOG_SUM_EXP = """
        T high = x[i * K], total = 0;
        for (int k = 1; k < K; ++k) high = x[i * K + k] > high ? x[i * K + k] : high;
        for (int k = 0; k < K; ++k) total += exp(x[i * K + k] - high);
        const T log_total = high + log(total);
        """
RECTIFIED = "auto rectified = [](T v) { return v < 0 ? (T)0 : v; }"  # v > 0 ? v : 0 would turn NaN into 0

# The sums of dy and dy (x - mean), and the a, a b, a c of dx = a (dy + b x + c), from which batch norm is made.
GRADIENT_SUMS = Sums(
    maps="T dy, T x",
    values="u = dy[i]; v = u * (x[i] - centre);",
    channels="T mean, T var, T gamma, float64 eps",
    needed=1,
    start="const T centre = active ? mean[channel] : (T)0;",
    images="T of_dy, T of_dyx",
    of_image="of_dy[k] = first[threadIdx.x]; of_dyx[k] = second[threadIdx.x];",
    outputs="T a, T ab, T ac, T dgamma, T dbeta",
    finish="""
        const T root = 1 / sqrt(var[i] + (T)eps), scale = gamma[i] * root;
        dbeta[i] = sum;
        dgamma[i] = square * root;
        const T b = -root * dgamma[i] / m;
        a[i] = scale;
        ab[i] = scale * b;
        ac[i] = scale * (-dbeta[i] / m - b * mean[i])
        """,
    equals="ops.batch_norm_backward",
)
PLAIN_SUMS = Sums(
    maps="T x",
    values="u = x[i]; v = 0;",
    channels="",
    needed=0,
    images="T of_image",
    of_image="of_image[k] = first[threadIdx.x];",
    outputs="T total",
    finish="total[i] = sum",
    equals="se.squeeze",
)

TABLE: dict[str, Kernel | Sums | PerImage] = {
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
        "{inputs}, int32 groups, int32 images, int32 first, int32 rows, int32 columns, int32 kh, int32 kw, "
        "int32 stride, int32 ph, int32 pw, int32 H, int32 W, int32 C, int32 size",
        "T out",
        RECTIFIED + """;
        unsigned rest = i;
        unsigned channel = rest % size; rest /= size;
        const int right = rest % kw; rest /= kw;
        const int down = rest % kh; rest /= kh;
        const int column = (int)(rest % columns) * stride + right - pw; rest /= columns;
        const int row = (int)(first + rest % rows) * stride + down - ph; rest /= rows;
        const unsigned image = groups == 1 ? rest : rest % images;
        if (groups > 1) channel += rest / images * size;
        const unsigned own = image * C + channel;
        const unsigned pixel = ((image * H + row) * W + column) * C + channel;
        out = 0 <= row && row < H && 0 <= column && column < W ? {formula} : (T)0
        """,
        "ops.conv2d",
    ),
    # --------------------------------------------------------------------------------------------- batch normalisation
    "moments": Sums(
        maps="T x",
        channels="T gamma, T beta, float64 eps", needed=0,
        start="const T pivot = active ? x[(blockIdx.z * each * pixels + from) * C + channel] : (T)0;",
        values="u = x[i] - pivot; v = u * u;",
        images="T of_image", of_image="of_image[k] = first[threadIdx.x] + count * pivot;",
        part="t -= s * s / count; s += count * pivot;",
        about_means=True,
        outputs="T mean, T var, T unbiased, T a, T c",
        finish="""
        mean[i] = sum / m;
        var[i] = square / m;
        unbiased[i] = square / (m > 1 ? m - 1 : m);
        a[i] = gamma[i] / sqrt(var[i] + (T)eps);
        c[i] = beta[i] - mean[i] * a[i]
        """,
        equals="ops.batch_statistics",
    ),
    "scale_and_shift": Kernel(
        "T mean, T var, T gamma, T beta, float64 eps",
        "T a, T c",
        "a = gamma / sqrt(var + (T)eps); c = beta - mean * a",
        "ops.normalize",
    ),
    "gradient_sums": GRADIENT_SUMS,
    "masked_gradient_sums": GRADIENT_SUMS._replace(
        maps="T dy, T x, T y",
        values="dy[i] = u = y[i] > 0 ? dy[i] : (T)0; v = u * (x[i] - centre);",
    ),
    "masked_gradient_sums_of_sum": GRADIENT_SUMS._replace(
        maps="T dy, T x, T y, T extra",
        values="dy[i] = u = y[i] > 0 ? dy[i] + extra[i] : (T)0; v = u * (x[i] - centre);",
    ),
    "gradient_of_sums": GRADIENT_SUMS._replace(
        maps="T sum_dy, T sum_dyx",
        values="u = sum_dy[i]; v = sum_dyx[i];",
        start="",
        channels="T mean, T var, T gamma, float64 eps, float64 number",
        finish=GRADIENT_SUMS.finish.replace("/ m", "/ number"),
    ),
    "update_running": Kernel(
        "T batch, float64 momentum", "T running", "running += (T)momentum * (batch - running)",
        "layers.update_running",
    ),
    # ------------------------------------------------------------------------------------------- parameters and labels
    "gather": Kernel(
        "{inputs}", "T out", "out = {formula}",
        "tree.flatten",
    ),
    # ---------------------------------------------------------------------------------------------------- the SE block
    "gates": PerImage(
        "T total, T a, T c, T W1, T W2, T b1, T b2, float64 pixels",
        "T images, T z, R h, T s, T sa, T sc",
        """
        for (unsigned k = threadIdx.x; k < C; k += blockDim.x) {
            T sum = 0;
            for (unsigned part = 0; part < parts; ++part) sum += total[(n * parts + part) * C + k];
            images[n * C + k] = sum /= pixels;
            over_channels[k] = z[n * C + k] = a[k] * sum + c[k];
        }
        __syncthreads();
        for (unsigned j = threadIdx.x; j < R; j += blockDim.x) {
            T sum = b1[j];
            for (unsigned k = 0; k < C; ++k) sum += over_channels[k] * W1[j * C + k];
            over_hidden[j] = h[n * R + j] = sum < 0 ? (T)0 : sum;
        }
        __syncthreads();
        for (unsigned k = threadIdx.x; k < C; k += blockDim.x) {
            T sum = b2[k];
            for (unsigned j = 0; j < R; ++j) sum += over_hidden[j] * W2[k * R + j];
            const T e = exp(sum < 0 ? sum : -sum), gate = (sum < 0 ? e : (T)1) / (1 + e);
            s[n * C + k] = gate;
            sa[n * C + k] = gate * a[k];
            sc[n * C + k] = gate * c[k];
        }
        """,
        "se.excite",
    ),
    "through_gates": PerImage(
        "T sum_dy, T sum_dyx, T h, T s, T images, T W1, T W2, T a, T beta, T mean, float64 pixels",
        "R da1, T da2, T shift, T sum_dv, T sum_dvx",
        """
        for (unsigned k = threadIdx.x; k < C; k += blockDim.x) {
            T dy = 0, dyx = 0;
            for (unsigned part = 0; part < parts; ++part) {
                dy += sum_dy[(n * parts + part) * C + k];
                dyx += sum_dyx[(n * parts + part) * C + k];
            }
            const T gate = s[n * C + k];
            sum_dv[n * C + k] = gate * dy;
            sum_dvx[n * C + k] = gate * dyx;
            over_channels[k] = da2[n * C + k] = (a[k] * dyx + beta[k] * dy) * gate * (1 - gate);
        }
        __syncthreads();
        for (unsigned j = threadIdx.x; j < R; j += blockDim.x) {
            T sum = 0;
            for (unsigned k = 0; k < C; ++k) sum += over_channels[k] * W2[k * R + j];
            over_hidden[j] = da1[n * R + j] = h[n * R + j] > 0 ? sum : (T)0;
        }
        __syncthreads();
        for (unsigned k = threadIdx.x; k < C; k += blockDim.x) {
            T dz = 0;
            for (unsigned j = 0; j < R; ++j) dz += over_hidden[j] * W1[j * C + k];
            shift[n * C + k] = a[k] * (dz / (T)pixels);
            sum_dv[n * C + k] += dz;
            sum_dvx[n * C + k] += dz * (images[n * C + k] - mean[k]);
        }
        """,
        "se.excite_backward",
    ),
    "sums": PLAIN_SUMS,
    "sums_of_products": PLAIN_SUMS._replace(maps="T x, T y", values="u = x[i] * y[i]; v = 0;"),
    # -------------------------------------------------------------------------------------------------------- the loss
    "log_sum_exp": Kernel(
        "raw T x, int32 K",
        "T out",
        LOG_SUM_EXP + "out = log_total",
        "ops.softmax_cross_entropy",
    ),
    # A label that no class has makes the loss NaN: nothing is read outside the array, and nothing has to wait.
    "cross_entropy_rows": Kernel(
        "L label, raw T x, int32 K, float64 N, float64 smoothing",
        "T loss",
        LOG_SUM_EXP + """
        const bool known = label < K && label > -1;
        T sum = (T)(1 - smoothing) * (log_total - x[i * K + (known ? (int)label : 0)]);
        if (smoothing) for (int k = 0; k < K; ++k) sum += (T)(smoothing / K) * (log_total - x[i * K + k]);
        loss = known ? sum / (T)N : (T)(0. / 0.)
        """,
        "ops.softmax_cross_entropy",
    ),
    "hits": Kernel(
        "raw T x, L label, int32 K",
        "T hit",
        """
        int best = 0;
        for (int k = 1; k < K; ++k) {
            const T now = x[i * K + k], before = x[i * K + best];
            if (now > before || (now != now && before == before)) best = k;  // NaN counts as the largest
        }
        hit = best == label
        """,
        "engine.hits",
    ),
    "cross_entropy_backward": Kernel(
        "T x, T log_total, L label, int32 K, float64 smoothing, float64 share",
        "T dx",
        "dx = (T)share * (exp(x - log_total) - (T)((i % K == label ? 1 - smoothing : 0) + smoothing / K))",
        "ops.softmax_cross_entropy_backward",
    ),
    # ------------------------------------------------------------------------------------- the optimiser and the data
    "sgd_step": Kernel(
        "T g, float64 lr, T rates, float64 momentum, float64 decay, int32 nesterov",
        "T w, T v",
        """
        T grad = g + (T)decay * w;
        v = (T)momentum * v + grad;
        w -= (T)lr * rates * (nesterov ? grad + (T)momentum * v : v)
        """,
        "optim.SGD",
    ),
    "adamw_step": Kernel(
        "T g, float64 lr, T rates, float64 beta1, float64 beta2, float64 eps, float64 decay, float64 scale1, "
        "float64 scale2",
        "T w, T v, T s",
        """
        v += (T)(1 - beta1) * (g - v);
        s = (T)beta2 * s + (T)(1 - beta2) * g * g;
        w -= (T)lr * rates * ((T)decay * w + (v / (T)scale1) / (sqrt(s / (T)scale2) + (T)eps))
        """,
        "optim.AdamW",
    ),
    "ema_step": Kernel(
        "raw T w, raw T running, int32 P, float64 decay",
        "T average",
        "const T now = i < (unsigned)P ? w[i] : running[i - P]; average = now + (T)decay * (average - now)",
        "optim.EMA",
    ),
    "sum_of_squares": PLAIN_SUMS._replace(values="u = x[i] * x[i]; v = 0;", equals="optim.clip_by_norm"),
    "clip": Kernel(
        "T square, float64 most",
        "T g",
        "const T scale = (T)most / (sqrt(square) + (T)1e-6); g *= scale < 1 || scale != scale ? scale : (T)1",
        "optim.clip_by_norm",
    ),
    "labels": Kernel(
        "raw L labels, M index", "L label", "label = labels[index]",
        "data.batches.Images",
    ),
    "crop": Kernel(
        "raw I images, raw L index, raw M top, raw M left, raw bool flip, raw T scale, raw T shift, "
        "int32 Hp, int32 Wp, int32 H, int32 W, int32 C",
        "T X",
        """
        const unsigned c = i % C, w = i / C % W, h = i / C / W % H, n = i / C / W / H;
        const unsigned column = left[n] + (flip[n] ? W - 1 - w : w);
        X = scale[c] * images[(((unsigned)index[n] * Hp + (unsigned)top[n] + h) * Wp + column) * C + c] + shift[c]
        """,
        "data.batches.Images",
    ),
}  # fmt: skip
