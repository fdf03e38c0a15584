"""The losses of detection: the pairs, extreme logits, weights, and faults in the arguments."""

import numpy as np
import pytest
from pair_checks import checks

import se_numpy as sn

TestPairs = checks("heatmap_focal_loss", "masked_l1_loss")

HEAT = np.array([1.0, 0.6, 0.0]).reshape(1, 1, 3, 1)


@pytest.mark.parametrize("size", [1e4, -1e4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_have_finite_losses_and_gradients(size, dtype):
    x, targets = np.full((1, 1, 3, 1), size, dtype), HEAT.astype(dtype)
    with np.errstate(all="raise"):
        loss = sn.heatmap_focal_loss(x, targets=targets)
        dx = sn.heatmap_focal_loss_backward(1.0, x, targets=targets)
    # At a wrong answer the loss is |x| and its slope 1, times (1 - t)^4; at a right one both are 0.
    wrong = np.array([size < 0, (size > 0) * 0.4**4, size > 0]).reshape(x.shape)
    np.testing.assert_allclose(loss, abs(size) * wrong.sum(), rtol=1e-6)
    np.testing.assert_allclose(dx, np.sign(size) * wrong, rtol=1e-6)


def test_without_alpha_and_beta_it_is_binary_cross_entropy():
    x = np.array([0.3, -2.0, 1.5]).reshape(HEAT.shape)
    loss = sn.heatmap_focal_loss(x, targets=(HEAT == 1) * 1.0, alpha=0, beta=0)
    np.testing.assert_allclose(loss, np.log(1 + np.exp([-0.3, -2.0, 1.5])).sum())


def test_a_weight_of_zero_removes_a_pixel():
    x = np.array([0.3, -2.0, 1.5]).reshape(HEAT.shape)
    weights = np.array([[[1.0, 1.0, 0.0]]])
    found = sn.heatmap_focal_loss(x, targets=HEAT, weights=weights)
    np.testing.assert_allclose(found, sn.heatmap_focal_loss(x[:, :, :2], targets=HEAT[:, :, :2]))
    assert sn.heatmap_focal_loss_backward(1.0, x, targets=HEAT, weights=weights)[0, 0, 2, 0] == 0


def test_a_batch_without_objects_has_a_loss():
    x, empty = np.array([0.3, -2.0, 1.5]).reshape(HEAT.shape), np.zeros((1, 1, 3, 1))
    mask = np.zeros((1, 1, 3), bool)
    assert sn.heatmap_focal_loss(x, targets=empty) > 0
    assert sn.masked_l1_loss(x, targets=np.full_like(x, np.nan), mask=mask) == 0
    assert not sn.masked_l1_loss_backward(1.0, x, targets=empty, mask=mask).any()


@pytest.mark.parametrize("dL", [0.7, np.array(0.7)], ids=["number", "array"])
def test_the_upstream_gradient_may_be_a_number(dL):
    x, mask = np.array([0.3, -2.0, 1.5]).reshape(HEAT.shape), np.ones((1, 1, 3), bool)
    for backward, hyper in (
        (sn.heatmap_focal_loss_backward, {"targets": HEAT}),
        (sn.masked_l1_loss_backward, {"targets": HEAT, "mask": mask}),
    ):
        np.testing.assert_allclose(backward(dL, x, **hyper), 0.7 * backward(1.0, x, **hyper))
        with pytest.raises(ValueError, match=r"dL has shape \(2,\); expected a number or a 0-d array"):
            backward(np.ones(2), x, **hyper)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: sn.heatmap_focal_loss(x, targets=HEAT[0]), r"targets has shape \(1, 3, 1\); expected"),
        (lambda x: sn.heatmap_focal_loss(x, targets=HEAT, weights=HEAT), "weights has shape .*; expected"),
        (lambda x: sn.heatmap_focal_loss(x, targets=HEAT, alpha=-1), "alpha is -1; expected a number, at least 0"),
        (lambda x: sn.heatmap_focal_loss(x, targets=HEAT, beta=np.nan), "beta is nan; expected a number, at least 0"),
        (lambda x: sn.masked_l1_loss(x, targets=HEAT, mask=HEAT[..., 0]), "mask has type float64; expected a boolean"),
        (lambda x: sn.masked_l1_loss(x, targets=HEAT, mask=HEAT > 0), r"mask has shape .*; expected \(N, H, W\) ="),
    ],
)
def test_a_fault_in_an_argument_is_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(np.ones_like(HEAT))
