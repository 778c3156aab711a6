"""Laws of every policy: rows are independent and portable; composition; configuration."""

from dataclasses import FrozenInstanceError, replace
from types import UnionType
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter
from seeing import CPU, commits, taus, view

from diffucode.errors import PlanError
from diffucode.protocols import Commits, View
from diffucode.sampling.temperature import (
    Annealed,
    Constant,
    Cosine,
    HapoAdaptive,
    HapoStats,
    Linear,
    MirostatV1,
    MirostatV2,
    Product,
    Regions,
    Temperature,
)

STATS = HapoStats(q=0.2, sigma=1.0, h_max=1.5, h_min=-2.0)
POLICIES = [
    Constant(0.3),
    Linear(1.0, 0.2),
    Cosine(1.0, 0.2, clock="step", length=9),
    Linear(1.0, 0.2, clock="position"),
    Annealed(clock="position", d=5, cutoff=2, growth=1),
    MirostatV1(target=2.5, eta=0.5),
    MirostatV2(target=2.5, eta=0.5, reduce="mean", base=0.8),
    HapoAdaptive(STATS),
    Regions(text=MirostatV2(target=4.0, eta=0.3), code=Constant(0.0)),
    Regions(text=MirostatV1(eta=0.3), code=MirostatV2(target=1.0, eta=0.2)),
    Product((Linear(1.0, 0.5), MirostatV2(eta=0.1), Regions(MirostatV2(), Constant(0.5)))),
]
each_policy = pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.kind)


def test_every_member_of_the_union_is_tested():
    assert isinstance(Temperature, UnionType)
    assert {type(p) for p in POLICIES} == set(get_args(Temperature))


class World:
    """Random views and commits in which row b of the world depends on b and the step alone."""

    def __init__(self, positions=3):
        self.positions = positions

    def view(self, rows, step) -> View:
        """Three positions of each of these rows; ``rows`` are names, the view counts from 0."""
        parts = [self._of(row, step) for row in rows]
        at = torch.arange(len(rows)).repeat_interleave(self.positions)
        top = torch.cat([part["top"] for part in parts])
        seen = view(
            len(rows),
            row=at.tolist(),
            offset=torch.cat([part["offset"] for part in parts]),
            step=torch.tensor([step + row for row in rows]),
            progress=torch.tensor([(step + row) % 7 / 7 for row in rows]),
            length=torch.tensor([20 + row for row in rows]),
            entropy=torch.cat([part["entropy"] for part in parts]),
            top=top,
            region=torch.cat([part["region"] for part in parts]),
            rl_step=2,
        )
        return seen

    def commits(self, rows, step) -> Commits:
        parts = [self._of(row, step) for row in rows]
        return commits(
            torch.cat([part["surprise"] for part in parts]),
            row=torch.arange(len(rows)).repeat_interleave(self.positions).tolist(),
            where=torch.cat([part["where"] for part in parts]).tolist(),
            region=torch.cat([part["region"] for part in parts]).tolist(),
        )

    def _of(self, row, step):
        g = torch.Generator().manual_seed(1000 * row + step)
        n = self.positions
        return {
            "top": (3 * torch.randn(n, 40, generator=g)).sort(1, descending=True).values,
            "offset": torch.randint(0, 30, (n,), generator=g),
            "entropy": 3 * torch.rand(n, generator=g),
            "region": torch.randint(0, 2, (n,), generator=g),
            "surprise": 6 * torch.rand(n, generator=g),
            "where": torch.rand(n, generator=g) < 0.7,
        }


def controls(policy, world, rows, step, state):
    """tau, bound and count of each position, by row of the world."""
    control = policy.control(world.view(rows, step), state)
    n = world.positions * len(rows)
    caps = [
        torch.full((n,), -1.0) if cap is None else cap.float()
        for cap in (control.max_surprise_N, control.top_k_N)
    ]
    stacked = torch.stack([control.tau_N, *caps], 1).unflatten(0, (len(rows), -1))
    return {row: stacked[i].tolist() for i, row in enumerate(rows)}


@each_policy
def test_a_row_in_any_company_equals_the_row_alone(policy):
    """Rows retire (take), join (cat) and swap; each must be controlled as if it were alone."""
    world = World()
    alone = {}
    for row in range(6):
        state = policy.start(1, CPU)
        for step in range(12):
            alone[row, step] = controls(policy, world, [row], step, state)[row]
            state = policy.observe(world.commits([row], step), state)

    rows, born = [0, 1, 2], dict.fromkeys(range(3), 0)
    state = policy.start(3, CPU)
    for now in range(11):
        if now == 3:  # row 1 retires, the others swap
            rows, state = [2, 0], state.take(torch.tensor([2, 0]))
        if now == 4:  # two rows join
            rows, state = [*rows, 3, 4], state.cat(policy.start(2, CPU))
            born |= {3: 4, 4: 4}
        if now == 8:  # all but one retire, one joins in front
            rows, state = [5, 3], policy.start(1, CPU).cat(state.take(torch.tensor([2])))
            born |= {5: 8}
        # Rows of one batch stand at steps of their own, so they are viewed one step at a time.
        parts = [(row, now - born[row]) for row in rows]
        views = [world.view([row], step) for row, step in parts]
        seen = _side_by_side(views)
        control = policy.control(seen, state)
        for i, (row, step) in enumerate(parts):
            here = slice(i * world.positions, (i + 1) * world.positions)
            want = torch.tensor(alone[row, step])
            assert torch.equal(control.tau_N[here], want[:, 0])
            for cap, column in ((control.max_surprise_N, 1), (control.top_k_N, 2)):
                if cap is not None:
                    assert torch.equal(cap[here].float(), want[:, column])
        told = [world.commits([row], step) for row, step in parts]
        state = policy.observe(_side_by_side(told), state)


def _side_by_side(parts):
    """One view (or commits) of several one-row views."""
    values = {}
    for name in parts[0].__dataclass_fields__:
        column = [getattr(part, name) for part in parts]
        if name.startswith("row_"):
            column = [x + i for i, x in enumerate(column)]
        values[name] = torch.cat(column) if isinstance(column[0], torch.Tensor) else column[0]
    return type(parts[0])(**values)


@each_policy
def test_feedback_policies_learn_and_others_do_not(policy):
    """The law above would hold for a policy that ignores its commits; this one would not."""
    world = World()
    fresh = policy.start(2, CPU)
    state = policy.observe(world.commits([0, 1], 0), fresh)
    learns = "Mirostat" in repr(policy)
    before, after = (controls(policy, world, [0, 1], 5, s) for s in (fresh, state))
    assert (before != after) == learns


@each_policy
def test_no_policy_waits_for_the_device_or_mixes_devices(policy):
    """Meta tensors have no values to read, and refuse to meet tensors of another device."""
    meta, world = torch.device("meta"), World()
    state = policy.start(2, meta)
    for step in range(2):
        control = policy.control(_moved(world.view([0, 1], step), meta), state)
        assert control.tau_N.device == meta
        state = policy.observe(_moved(world.commits([0, 1], step), meta), state)
    state.cat(policy.start(1, meta)).take(torch.zeros(2, dtype=torch.long, device=meta))


def _moved(value, device):
    """The dataclass with its tensors on another device."""
    names = value.__dataclass_fields__
    moved = {
        name: tensor.to(device)
        for name in names
        if isinstance(tensor := getattr(value, name), torch.Tensor)
    }
    return replace(value, **moved)


@each_policy
def test_policies_are_values(policy):
    assert hash(policy) == hash(replace(policy))
    with pytest.raises(FrozenInstanceError):
        policy.kind = "other"
    adapter = TypeAdapter(Temperature)
    assert adapter.validate_json(adapter.dump_json(policy)) == policy


def test_a_bad_value_in_a_config_names_its_field():
    with pytest.raises(ValueError, match=r"Constant\.value is -1"):
        TypeAdapter(Temperature).validate_python({"kind": "constant", "value": -1})


def test_product_multiplies_temperatures_and_takes_the_tightest_caps():
    policy = Product((Constant(0.5), Linear(1, 0), MirostatV2(target=2.0), MirostatV2(target=1.0)))
    seen = view(progress=0.25)
    control = policy.control(seen, policy.start(1, CPU))
    assert control.tau_N.tolist() == pytest.approx([0.375])
    assert control.max_surprise_N.tolist() == [2.0]
    assert control.top_k_N is None
    counts = Product((MirostatV1(), MirostatV1(rounding="notebook")))
    top = torch.tensor([[0.5, 0.25, 0.125, 0.0625, 0.0625]]).log()
    k = counts.control(view(top=top, vocab=5), counts.start(1, CPU).take(torch.tensor([0])))
    assert k.top_k_N.tolist() == [5]
    with pytest.raises(PlanError, match="empty"):
        Product(())


def test_regions_choose_by_label():
    policy = Regions(text=Constant(1.0), code=Constant(0.0))
    seen = view(4, region=torch.tensor([0, 1, 1, 0]))
    assert taus(policy, seen) == [1, 0, 0, 1]
    with pytest.raises(PlanError, match="region labels"):
        taus(policy, view(4))


def test_a_cap_of_one_region_leaves_the_other_free():
    seen = view(2, region=torch.tensor([0, 1]), vocab=50)
    policy = Regions(text=MirostatV2(target=2.0), code=Constant(0.0))
    control = policy.control(seen, policy.start(2, CPU))
    assert control.max_surprise_N.tolist() == [4.0, torch.inf]
    assert control.top_k_N is None
    policy = Regions(text=Constant(), code=MirostatV1())
    steep = view(2, region=seen.region_N, vocab=50, top=torch.tensor([[0.0, -5.0, -10.0]]))
    control = policy.control(steep, policy.start(2, CPU))
    assert control.max_surprise_N is None
    text, code = control.top_k_N.tolist()
    assert text == 50
    assert code < 50


def test_each_region_observes_its_own_commits():
    policy = Regions(text=MirostatV2(target=3.0, eta=0.1), code=MirostatV2(target=1.0, eta=0.1))
    told = commits([5.0, 0.0, 4.0], region=[0, 1, 0])
    text, code = policy.observe(told, policy.start(1, CPU)).parts
    assert text.mu_B.item() == pytest.approx(6 - 0.1 * (2 + 1))
    assert code.mu_B.item() == pytest.approx(2 + 0.1 * 1)
    with pytest.raises(PlanError, match="region labels"):
        policy.observe(commits([5.0]), policy.start(1, CPU))


def test_composed_policies_ask_for_what_their_parts_need():
    assert Product((Constant(), MirostatV1(pairs=30))).retained == 31
    assert Regions(text=MirostatV1(pairs=30), code=MirostatV1(pairs=50)).retained == 51
