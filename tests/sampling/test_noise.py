"""The random primitive: Random123's known answers, and the laws of argmax and top-k under it."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from diffucode.sampling.noise import Purpose, gumbel, key, perturb, philox, uniform

# Random123 1.14, tests/kat_vectors, philox4x32 10: counter, key, output
KNOWN_ANSWERS = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def words(text: str) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor([int(word, 16)]) for word in text.split())


@pytest.mark.parametrize(("counter", "key_words", "answer"), KNOWN_ANSWERS)
def test_philox_known_answers(counter: str, key_words: str, answer: str) -> None:
    assert philox(words(counter), words(key_words)) == words(answer)


def test_arrays_and_tensors_give_the_same_words() -> None:
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(0, 2**32, (6, 1000), generator=generator)
    by_tensor = philox(tuple(words[:4]), tuple(words[4:]))
    by_array = philox(tuple(words[:4].numpy()), tuple(words[4:].numpy()))
    assert all((t.numpy() == a).all() for t, a in zip(by_tensor, by_array, strict=True))


def counters(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """n draws of one row: one key, n positions, step 0."""
    return (
        torch.tensor([key(seed, "row")]).repeat(n, 1),
        torch.arange(n),
        torch.zeros(n, dtype=torch.long),
    )


def test_keys_depend_on_seed_request_and_sample() -> None:
    keys = {key(s, r, k) for s in range(3) for r in ("a", "b", "a\x001") for k in range(3)}
    assert len(keys) == 27
    assert all(0 <= word < 2**32 for pair in keys for word in pair)


def test_counters_do_not_collide() -> None:
    """Every counter component changes the number; 4 x 1000 uniforms of 52 bits collide with odds 2e-9."""
    n = 1000
    key_n2, index, zero = counters(n)
    seen = torch.cat(
        [
            uniform(key_n2, index, zero, Purpose.TOKEN, None),
            uniform(key_n2, zero, index + 1, Purpose.TOKEN, None),
            uniform(key_n2, index, zero, Purpose.ORDER, None),
            uniform(key_n2[:1], zero[:1], zero[:1], Purpose.TOKEN, index[None, :] + 1)[0],
        ]
    )
    assert len(seen.unique()) == 4 * n


def test_uniforms_are_inside_the_interval_and_uniform() -> None:
    u = uniform(*counters(100_000), Purpose.TOKEN, None)
    assert u.dtype == torch.float64
    assert u.min() > 0 and u.max() < 1
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3  # fixed seed: passes or fails for good


def test_extreme_bits_stay_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in (0, 0xFFFFFFFF):
        monkeypatch.setattr(
            "diffucode.sampling.noise.philox", lambda c, k, w=word: (np.full_like(c[3], w),) * 4
        )
        u = uniform(*counters(1), Purpose.TOKEN, None)
        assert 0 < u.item() < 1
        assert math.isfinite(gumbel(*counters(1), Purpose.TOKEN, None).item())


def test_gumbel_law() -> None:
    g = gumbel(*counters(100_000), Purpose.TOKEN, None)
    assert stats.kstest(g.numpy(), "gumbel_r").pvalue > 1e-3


def test_argmax_draws_from_the_softmax() -> None:
    """z = [2, 1, 0] at tau 0.7."""
    n, tau = 200_000, 0.7
    scores = torch.tensor([2.0, 1.0, 0.0])
    noise = gumbel(*counters(n), Purpose.TOKEN, torch.arange(3).expand(n, 3))
    drawn = torch.bincount(perturb(scores, tau, noise).argmax(1), minlength=3)
    expected = n * torch.tensor([0.770960, 0.184761, 0.044278])
    assert stats.chisquare(drawn, expected * drawn.sum() / expected.sum()).pvalue > 1e-3


def test_top_k_draws_plackett_luce() -> None:
    """Confidences .9, .6, .3 at order temperature .5, the first two drawn."""
    n, tau = 200_000, 0.5
    scores = torch.tensor([0.9, 0.6, 0.3])
    noise = gumbel(*counters(n, seed=1), Purpose.ORDER, torch.arange(3).expand(n, 3))
    first, second = perturb(scores, tau, noise).topk(2).indices.unbind(1)
    drawn = torch.bincount(3 * first + second, minlength=9)
    w = (scores / tau).softmax(0)
    law = [w[i] * w[j] / (1 - w[i]) if i != j else 0.0 for i in range(3) for j in range(3)]
    assert math.isclose(math.log(law[1]), -1.052677, abs_tol=1e-6)
    assert math.isclose(law[1] + law[3], 0.576988, abs_tol=1e-6)
    occurs = torch.tensor(law) > 0
    assert drawn[~occurs].sum() == 0
    expected = n * torch.tensor(law, dtype=torch.float64)[occurs]
    assert stats.chisquare(drawn[occurs], expected * n / expected.sum()).pvalue > 1e-3


def test_zero_temperature_keeps_the_scores() -> None:
    scores = torch.tensor([[3.0, -torch.inf, 3.0]])
    noise = gumbel(*counters(1), Purpose.TOKEN, torch.arange(3)[None])
    for tau in (0.0, 9e-6):
        assert torch.equal(perturb(scores, tau, noise), scores.double())
    mixed = perturb(scores.repeat(2, 1), torch.tensor([[0.0], [1.0]]), noise)
    assert torch.equal(mixed[0], scores[0].double()) and mixed[1, 0] != mixed[1, 2]
    assert mixed[1, 1] == -torch.inf
