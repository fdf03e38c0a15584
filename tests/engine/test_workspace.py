"""Memory reuse."""

import threading

import numpy as np

from se_numpy.engine.workspace import PADDED, _local, workspace, zero_padded_workspace


def test_workspace_is_reused_by_name_and_thread():
    a = workspace(np, "test", (4, 5), np.float32)
    assert np.shares_memory(a, workspace(np, "test", (10,), np.float64))
    assert not np.shares_memory(a, workspace(np, "other", (4, 5), np.float32))
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(workspace(np, "test", (4, 5), np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(a, elsewhere[0])


def test_padding_stays_zero():
    inside_of = slice(None), slice(1, 3), slice(1, 3)
    around, inside = zero_padded_workspace(np, (2, 4, 4, 1), inside_of, np.float32)
    inside[...] = 7
    again, _ = zero_padded_workspace(np, (2, 4, 4, 1), inside_of, np.float32)
    assert again is around
    assert around.sum() == 7 * inside.size
    for i in range(PADDED + 5):  # at most PADDED arrays are kept
        zero_padded_workspace(np, (1, 1, 1 + i, 1), (slice(None),) * 3, np.float32)
    assert len(_local.padded) <= PADDED
