"""The double of CuPy behaves as CuPy does: the same probes run on both."""

import copy
import pickle

import numpy as np
import pytest

from se_numpy import cupy_double

# An expression, and what it gives: where the result lies, its dtype and its values; or "refused". In them d is a device
# array [1, 2, 3], h the same on the host, e a device array [[1, 2], [3, 4]], and i, hi are indices [0, 1] on the device
# and on the host. Sorting and boolean masks need libraries that CuPy on host memory does not have.
PROBES = """
d + h                                           refused
h + d                                           refused
d + [1.0, 2.0, 3.0]                             refused
d + np.float32(2)                               device float32 [3.0, 4.0, 5.0]
d + np.float64(2)                               device float64 [3.0, 4.0, 5.0]
d + 2.5                                         device float32 [3.5, 4.5, 5.5]
np.add(d, d)                                    device float32 [2.0, 4.0, 6.0]
np.add(d, h)                                    refused
np.asarray(d)                                   refused
np.lib.stride_tricks.as_strided(d, (2,), (4,))  refused
xp.maximum(d, h)                                refused
xp.concatenate([d, h])                          refused
xp.concatenate([h, h])                          refused
xp.concatenate([d, d])                          device float32 [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
xp.where(d > 1, d, h)                           refused
xp.add(d, d, where=d > 1)                       refused
xp.add(d, d, out=d.copy(), where=d > 1)         refused
xp.sum(d, where=d > 1)                          refused
d.sum(where=d > 1)                              refused
d.mean(where=d > 1)                             refused
d.sum(initial=1.0)                              refused
xp.max(d, initial=1.0)                          refused
xp.var(d, correction=1)                         refused
d.var(ddof=1)                                   device float32 1.0
d.sum(0, keepdims=True)                         device float32 [6.0]
d.flags.writeable                               refused
d.flags.c_contiguous                            True
e.T.flags['C_CONTIGUOUS']                       False
d.setflags(write=False)                         refused
d.resize                                        refused
xp.asarray([object()])                          refused
xp.array(['a'])                                 refused
xp.empty(2, object)                             refused
d.astype(object)                                refused
xp.random.default_rng(0).permutation(3)         refused
xp.random.default_rng(0).random(3).shape        (3,)
xp.asarray(h)                                   device float32 [1.0, 2.0, 3.0]
xp.array(h)                                     device float32 [1.0, 2.0, 3.0]
xp.asarray(h.astype('>f4'))                     device float32 [1.0, 2.0, 3.0]
xp.asarray(h, copy=True)                        device float32 [1.0, 2.0, 3.0]
xp.asarray([d, d])                              device float32 [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
xp.asarray([d[0], d[1]])                        device float32 [1.0, 2.0]
xp.asarray([d, h])                              refused
xp.zeros_like(h)                                device float32 [0.0, 0.0, 0.0]
xp.asnumpy(d)                                   host float32 [1.0, 2.0, 3.0]
d.get(out=np.empty(3, np.float32))              host float32 [1.0, 2.0, 3.0]
xp.get_array_module(d) is xp                    True
xp.get_array_module(h) is np                    True
d[hi]                                           device float32 [1.0, 2.0]
d[i]                                            device float32 [1.0, 2.0]
d[np.int64(1)]                                  device float32 2.0
d[7]                                            refused
d[xp.asarray(7)]                                device float32 2.0
d[xp.asarray([0, 7])]                           device float32 [1.0, 2.0]
e[:, xp.asarray([3])]                           device float32 [[2.0], [4.0]]
e[..., None, xp.asarray([0])].shape             (2, 1, 1)
h[i]                                            refused
set(d, 0, 5.0)                                  device float32 [5.0, 2.0, 3.0]
set(d, i, 0)                                    device float32 [0.0, 0.0, 3.0]
set(d, hi, 0)                                   device float32 [0.0, 0.0, 3.0]
set(d, 0, h[1])                                 device float32 [2.0, 2.0, 3.0]
set(d, slice(None), d * 2)                      device float32 [2.0, 4.0, 6.0]
set(d, slice(None), h)                          refused
set(d, slice(None), [1, 2, 3])                  refused
set(h, slice(None), d)                          refused
set(xp.broadcast_to(d, (1, 3)), 0, 9.0)         device float32 [[9.0, 9.0, 9.0]]
add(d, h)                                       refused
add(h, d)                                       refused
add(d, d)                                       device float32 [2.0, 4.0, 6.0]
add(d, d.astype(np.float64))                    device float32 [2.0, 4.0, 6.0]
add(d.astype(np.int32), d)                      refused
float(d[0])                                     1.0
float(d)                                        refused
bool(d > 0)                                     refused
[10, 20, 30][d[1].astype(np.int32)]             refused
d[0].item()                                     1.0
d.item(1)                                       refused
d.tolist()                                      [1.0, 2.0, 3.0]
len(d)                                          3
len(d[0])                                       refused
[float(x) for x in d]                           [1.0, 2.0, 3.0]
list(d[0])                                      refused
sum(d)                                          device float32 6.0
d == h                                          refused
d == 2                                          device bool [False, True, False]
d < d                                           device bool [False, False, False]
hash(d)                                         refused
str(d)                                          [1. 2. 3.]
repr(d)                                         array([1., 2., 3.], dtype=float32)
f"{d[0]:.2f}"                                   1.00
f"{d:.2f}"                                      refused
pickle.loads(pickle.dumps(d))                   device float32 [1.0, 2.0, 3.0]
copy.copy(d)                                    device float32 [1.0, 2.0, 3.0]
copy.deepcopy(d)                                device float32 [1.0, 2.0, 3.0]
d.flat[0]                                       device float32 1.0
[float(x) for x in e.flat]                      [1.0, 2.0, 3.0, 4.0]
d.ctypes                                        refused
memoryview(d)                                   refused
xp.add(d, d, out=xp.empty(3, np.float64))       device float64 [2.0, 4.0, 6.0]
xp.add(d, d, out=xp.empty(3, np.int32))         refused
xp.add(d, d, out=np.empty(3, np.float32))       refused
xp.add(d, d, out=xp.empty(2, np.float32))       refused
xp.add(d, d, dtype=np.float64)                  device float64 [2.0, 4.0, 6.0]
xp.add(d, d, casting='no')                      device float32 [2.0, 4.0, 6.0]
d.astype(np.int32)                              device int32 [1, 2, 3]
xp.matmul(e, e, out=xp.empty((2, 2), 'f4'))     device float32 [[7.0, 10.0], [15.0, 22.0]]
add_at(d, i)                                    device float32 [2.0, 3.0, 3.0]
xp.add.reduce(d)                                device float32 6.0
xp.array_equal(d, d)                            device bool True
xp.allclose(d, d)                               device bool True
xp.array_equal(d, h)                            refused
xp.vecdot(d, d)                                 refused
xp.errstate(all='ignore')                       refused
xp.insert(d, 0, 1)                              refused
xp.lib.stride_tricks.as_strided(d, (2,), (4,))  device float32 [1.0, 2.0]
"""
STRICTER = ("np.concatenate([d, d])", "np.sum(d)", "np.shape(d)")  # CuPy carries these out


def set_(array, key, value):
    array[key] = value
    return array


def add(a, b):
    a += b
    return a


def add_at(xp, a, i):
    xp.add.at(a, i, 1)
    return a


def outcome(xp, expression):
    h = np.array([1, 2, 3], np.float32)
    hi = np.array([0, 1])
    names = {
        "xp": xp, "np": np, "copy": copy, "pickle": pickle, "set": set_, "add": add,
        "add_at": lambda a, i: add_at(xp, a, i), "h": h, "d": xp.asarray(h), "hi": hi, "i": xp.asarray(hi),
        "e": xp.asarray(np.array([[1, 2], [3, 4]], np.float32)),
    }  # fmt: skip
    try:
        result = eval(expression, names)
    except (TypeError, ValueError, AttributeError, IndexError):
        return "refused"
    if isinstance(result, xp.ndarray):
        return f"device {result.dtype} {result.get().tolist()}"
    return f"host {result.dtype} {result.tolist()}" if isinstance(result, np.ndarray) else str(result)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("probe", PROBES.strip().splitlines(), ids=lambda probe: probe.split("  ")[0])
def test_the_double_and_cupy_agree(device_xp, probe):
    expression, expected = (word.strip() for word in probe.split("  ", 1))
    assert outcome(device_xp, expression) == expected


@pytest.mark.parametrize("expression", STRICTER)
def test_the_double_refuses_numpys_functions(device_xp, expression):
    assert (outcome(device_xp, expression) == "refused") == (device_xp.__version__ == "double")


@pytest.mark.parametrize(
    ("expression", "syncs", "uploads"),
    [("float(d[0])", 1, 0), ("f'{d[0]:.1f}'", 1, 0), ("d.item", 0, 0), ("pickle.loads(pickle.dumps(d))", 1, 1),
     ("d[hi]", 0, 1), ("xp.array_equal(d, d)", 0, 0), ("xp.asarray([d, d])", 0, 0), ("xp.array(h)", 0, 1)],
)  # fmt: skip
def test_waits_and_uploads_are_counted(double, expression, syncs, uploads):
    d, h = double.asarray(np.ones(3)), np.ones(3)
    with cupy_double.counting() as (_, waits):
        eval(expression, {"d": d, "h": h, "hi": np.array([0, 1]), "xp": double, "pickle": pickle})
    assert (len(waits), len(cupy_double.uploads)) == (syncs, uploads)
