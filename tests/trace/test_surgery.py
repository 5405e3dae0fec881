"""Each operation does what it says, to nothing else, and refuses what it does not understand."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import tricklint  # noqa: E402
from tricklint import surgery  # noqa: E402


class Net(nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.Tanh(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.scale = nn.Parameter(torch.ones(64, 1, 1))
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = self.body(x)
        return self.fc(x * self.scale.flatten())


def steps(model: nn.Module, groups=None) -> None:
    optimizer = torch.optim.SGD(groups or [p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.train()
    model(torch.randn(4, 3, 16, 16)).pow(2).mean().backward()
    optimizer.step()


def test_init_uses_the_gain_of_what_follows() -> None:
    model = Net()
    keys, norm = list(model.state_dict()), model.body[1].weight.clone()
    changes = surgery.init_weights(model, generator=torch.Generator().manual_seed(1))
    assert model.body[0].weight.std().item() == pytest.approx(math.sqrt(2 / 27), rel=0.1)  # ReLU, through the norm
    bound = 5 / 3 * math.sqrt(6 / (32 * 9 + 64 * 9))
    assert model.body[3].weight.abs().max().item() == pytest.approx(bound, rel=0.01)  # tanh
    assert model.fc.weight.abs().max().item() == pytest.approx(math.sqrt(6 / 74), rel=0.05)
    assert not model.fc.bias.any() and not model.body[3].bias.any()
    assert torch.equal(norm, model.body[1].weight) and list(model.state_dict()) == keys
    assert len(changes) == 5 and "relu follows" in str(changes)
    assert not {"TRK501", "TRK502"} & set(tricklint.check_model(model).codes())
    steps(model)


def test_init_keeps_ties_frozen_and_zeros() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mid = nn.Embedding(20, 8), nn.Linear(8, 8)
            self.zero, self.head = nn.Linear(8, 8), nn.Linear(8, 20, bias=False)
            self.head.weight = self.embed.weight
            nn.init.zeros_(self.zero.weight)
            self.mid.requires_grad_(False)

        def forward(self, tokens):
            x = self.embed(tokens)
            return self.head(self.zero(self.mid(x)) + x)

    model = Tied()
    before = {name: value.clone() for name, value in model.state_dict().items() if name != "zero.bias"}
    changes = surgery.init_weights(model)
    assert model.head.weight is model.embed.weight
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert not changes
    assert {change.target for change in changes.left} == {"mid.weight", "zero.weight", "head.weight"}
    assert "tied to embed.weight" in str(changes)


def test_init_goes_through_parametrizations_and_refuses_old_hooks() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(64, 64)), nn.ReLU(), nn.Linear(64, 2))
    surgery.init_weights(model)
    assert model[0].weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.1)
    with pytest.warns(FutureWarning):
        old = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 4)), nn.ReLU())
    state = [p.clone() for p in old.parameters()]
    with pytest.raises(surgery.SurgeryError, match="weight_g"):
        surgery.init_weights(old)
    assert all(torch.equal(a, b) for a, b in zip(state, old.parameters(), strict=True))
    with pytest.raises(surgery.SurgeryError, match="lazy"):
        surgery.init_weights(nn.Sequential(nn.LazyLinear(3)))


def test_init_of_dtypes_and_transposed_convolutions() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(32, 8, 4), nn.ReLU(), nn.Conv2d(8, 1, 1)).to(torch.bfloat16)
    surgery.init_weights(model)
    assert model[0].weight.dtype is torch.bfloat16
    assert model[0].weight.float().std().item() == pytest.approx(math.sqrt(2 / (32 * 16)), rel=0.1)


def test_groups_hold_every_parameter_once() -> None:
    model = Net()
    model.body[0].requires_grad_(False)
    groups = surgery.param_groups(model, 0.1, lr=0.01)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0] and groups[0]["lr"] == 0.01
    decayed = {id(p) for p in groups[0]["params"]}
    assert {n for n, p in model.named_parameters() if id(p) in decayed} == {"body.3.weight", "fc.weight"}
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    assert not {"TRK601", "TRK602"} & set(tricklint.check_model(model, optimizer).codes())
    steps(model, groups)
    with pytest.raises(surgery.SurgeryError, match="trainable"):
        surgery.param_groups(Net().requires_grad_(False), 0.1)
    with pytest.raises(surgery.SurgeryError, match="weight_decay"):
        surgery.param_groups(Net(), -1)


def test_freeze_finds_the_head_and_unfreeze_gives_the_lower_rate() -> None:
    model = Net()
    changes = surgery.freeze_backbone(model)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {"fc.weight", "fc.bias"}
    assert len(changes) == 6 and len(changes.left) == 2
    optimizer = torch.optim.SGD(surgery.param_groups(model, 0.01), lr=0.1)
    with pytest.raises(surgery.SurgeryError, match="below"):
        surgery.unfreeze(model, optimizer, 0.1)
    assert not model.scale.requires_grad
    surgery.unfreeze(model, optimizer, 0.01)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    rates = {
        n: (g["lr"], g["weight_decay"])
        for g in optimizer.param_groups
        for n, p in model.named_parameters()
        if any(p is q for q in g["params"])
    }
    assert rates["fc.weight"] == (0.1, 0.01) and rates["fc.bias"] == (0.1, 0.0)
    assert rates["body.0.weight"] == (0.01, 0.01) and rates["body.1.weight"] == (0.01, 0.0)
    with pytest.raises(surgery.SurgeryError, match="nothing"):
        surgery.unfreeze(model, optimizer, 0.001)


def test_unfreeze_moves_what_the_optimizer_already_holds() -> None:
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    surgery.freeze_backbone(model, head="fc")
    surgery.unfreeze(model, optimizer, 0.01)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    steps(model, optimizer.param_groups)


def test_freeze_refuses() -> None:
    with pytest.raises(surgery.SurgeryError, match="no module 'head'"):
        surgery.freeze_backbone(Net(), head="head")

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 3)

        def forward(self, x):
            x = self.body(x).relu()
            return self.a(x), self.b(x)

    with pytest.raises(surgery.SurgeryError, match="2 heads"):
        surgery.freeze_backbone(Two())
    model = Two()
    surgery.freeze_backbone(model, head=["a", "b"])
    assert {n for n, p in model.named_parameters() if not p.requires_grad} == {"body.weight", "body.bias"}
    tied = Two()
    tied.b.weight = nn.Parameter(torch.zeros(4, 4))
    tied.body.weight = tied.b.weight
    with pytest.raises(surgery.SurgeryError, match="tied"):
        surgery.freeze_backbone(tied, head="b")
    assert all(p.requires_grad for p in tied.parameters())


def test_frozen_norms_stay_still() -> None:
    model = Net()
    surgery.freeze_backbone(model, head="fc")
    assert "TRK104" in tricklint.check_model(model.train()).codes()
    changes = surgery.freeze_norms(model)
    assert len(changes) == 1
    mean = model.body[1].running_mean.clone()
    model.train()
    model(torch.randn(4, 3, 16, 16))
    assert torch.equal(mean, model.body[1].running_mean)
    assert "TRK104" not in tricklint.check_model(model).codes()
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.1)
    surgery.unfreeze(model, optimizer, 0.01)
    model.train()
    model(torch.randn(4, 3, 16, 16))
    assert not torch.equal(mean, model.body[1].running_mean)


def test_prior_bias() -> None:
    model = Net(1)
    surgery.prior_bias(model, 0.01)
    assert model.fc.bias.item() == pytest.approx(-4.595, abs=1e-3)
    model = Net(3)
    surgery.prior_bias(model, [90, 9, 1], activation="softmax")
    assert torch.softmax(model.fc.bias, 0).tolist() == pytest.approx([0.9, 0.09, 0.01])
    for wrong, words in (([1, 2], "3 outputs, 2 priors"), (0.5, "count of each class"), ([1, 0, 1], "positive")):
        with pytest.raises(surgery.SurgeryError, match=words):
            surgery.prior_bias(model, wrong, activation="softmax")
    with pytest.raises(surgery.SurgeryError, match="between 0 and 1"):
        surgery.prior_bias(model, 1.0)
    with pytest.raises(surgery.SurgeryError, match="no bias"):
        surgery.prior_bias(nn.Sequential(nn.Linear(3, 3, bias=False)))
    dense = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 1))
    surgery.prior_bias(dense, [0.1, 0.2, 0.5])
    assert dense[2].bias[:3].tolist() == pytest.approx(dense[2].bias[3:].tolist())


def test_normalize_head_keeps_weight_hooks_and_mode() -> None:
    model = Net(100).eval()
    weight, seen = model.fc.weight, []
    model.fc.register_forward_hook(lambda *_: seen.append(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    keys = set(model.state_dict())
    changes = surgery.normalize_head(model)
    assert set(model.state_dict()) - keys == {"fc.scale"} and keys <= set(model.state_dict())
    assert model.fc.weight is weight and any(p is weight for p in optimizer.param_groups[0]["params"])
    assert not model.fc.training and isinstance(model.fc, nn.Linear)
    alpha = math.log(0.9 * 98 / 0.1)
    assert model.fc.scale.item() == pytest.approx(alpha, rel=1e-5) and "6.78" in str(changes)
    x = torch.randn(2, 3, 16, 16)
    body = model.body(x) * model.scale.flatten()
    assert torch.allclose(model(x), F.linear(F.normalize(body) * model.fc.scale, weight, model.fc.bias), atol=1e-5)
    assert seen and "TRK201" not in tricklint.check_model(model).codes()
    with pytest.raises(surgery.SurgeryError, match="not a plain"):
        surgery.normalize_head(model)
    with pytest.raises(surgery.SurgeryError, match="below α_low"):
        surgery.normalize_head(Net(100), scale=2.0)
    steps(model)
    import copy
    import pickle

    model.fc._forward_hooks.clear()
    assert pickle.loads(pickle.dumps(model.fc)).scale == model.fc.scale
    copy.deepcopy(model)


def test_normalize_head_inside_a_sequential_and_a_state_dict() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Sequential(nn.Dropout(0.1), nn.Linear(8, 5)))

    one, two = build(), build()
    surgery.normalize_head(one, learnable=True, normalize_weight=True)
    surgery.normalize_head(two, learnable=True, normalize_weight=True)
    two.load_state_dict(one.state_dict())
    one.eval(), two.eval()
    x = torch.randn(3, 8)
    assert torch.equal(one(x), two(x))
    assert one(x).detach().sub(one[2][1].bias).abs().max() <= one[2][1].scale


def test_nothing_is_touched_when_an_operation_refuses() -> None:
    model = nn.Sequential(nn.LSTM(3, 4))
    state = [p.clone() for p in model.parameters()]
    for operation in (surgery.freeze_backbone, surgery.prior_bias, surgery.normalize_head):
        with pytest.raises(surgery.SurgeryError, match="no head"):
            operation(model)
    assert all(torch.equal(a, b) and b.requires_grad for a, b in zip(state, model.parameters(), strict=True))


def test_changes_show_themselves() -> None:
    model = Net()
    changes = surgery.freeze_norms(model)
    assert not changes and len(changes.left) == 1
    assert "trainable" in str(changes)
    assert "<table>" in changes._repr_html_() and "body.1" in changes._repr_html_()
    assert "body.1" in repr(changes)
