"""Agreement of gradients: its expectation, the sum's direction, and what it refuses."""

import math

import pytest
import torch

from diffucode.rl.gradient_noise import agreement, batches_needed


def drawn(
    batches: int, size: int, signal: float, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of unit noise in all about ``size`` coordinates, and what they expect."""
    generator = torch.Generator().manual_seed(seed)
    expected_P = torch.randn(size, generator=generator)
    expected_P *= signal / expected_P.norm()
    noise_KP = torch.randn(batches, size, generator=generator) / math.sqrt(size)
    return expected_P + noise_KP, expected_P


@pytest.mark.parametrize("signal", [0.2, 0.5])
def test_the_mean_cosine_is_the_share_of_signal(signal: float) -> None:
    gradients, expected = drawn(24, 20_000, signal)
    found = agreement(gradients)
    share = signal**2 / (signal**2 + 1)
    assert found.raw.low < share < found.raw.high
    assert found.raw.value == pytest.approx(share, abs=0.01)
    # and the direction of a sum is what the module says
    cosine = torch.nn.functional.cosine_similarity(gradients.sum(0), expected, dim=0)
    rho, many = found.raw.value, len(gradients)
    assert float(cosine) == pytest.approx(math.sqrt(many * rho / (1 + (many - 1) * rho)), abs=0.02)
    needed = batches_needed(found.raw)
    assert needed == pytest.approx((1 - rho) / rho)
    half = agreement(gradients[:6])
    assert half.raw.high - half.raw.low > found.raw.high - found.raw.low


def test_noise_agrees_with_nothing() -> None:
    found = agreement(drawn(12, 20_000, 0.0)[0])
    assert found.raw.low < 0 < found.raw.high
    assert batches_needed(found.raw._replace(value=-0.1)) == math.inf


def test_adam_listens_to_quiet_coordinates() -> None:
    """A loud coordinate that batches agree on makes the raw cosine, and hardly the scaled one."""
    gradients, _ = drawn(8, 2_000, 0.0)
    gradients[:, 0] = 3.0
    found = agreement(gradients)
    assert found.raw.value > 0.8
    assert found.by_coordinate.value < 0.05 and found.sign.value < 0.05


def test_too_little_to_compare() -> None:
    gradients, _ = drawn(3, 10, 0.5)
    with pytest.raises(ValueError, match="2 batches: expected at least three"):
        agreement(gradients[:2])
    gradients[1] = 0
    with pytest.raises(ValueError, match="batch 1 has no gradient"):
        agreement(gradients)
