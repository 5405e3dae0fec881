"""What a trace says about models whose truth is plain to see."""

from __future__ import annotations

import math

import pytest

from tricklint.trace.facts import FactsReport, ModelFacts

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from tricklint.trace.ladder import Inputs, climb  # noqa: E402
from tricklint.trace.live import facts_of, outline  # noqa: E402
from tricklint.trace.read import read  # noqa: E402


class Residual(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + x)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.act = nn.GELU()
        self.block = Residual()
        self.fc = nn.Linear(8, 5)
        self.spare = nn.Linear(3, 3)

    def forward(self, x):
        x = self.block(self.act(self.stem(x)))
        return torch.softmax(self.fc(x.mean((2, 3))), dim=1)


X = torch.zeros(2, 3, 16, 16)


@pytest.mark.parametrize("rung", ["fx", "recorder", "export"])
def test_every_rung_tells_the_same(rung: str) -> None:
    model = Net()
    if rung == "export":
        from tricklint.trace.ladder import _export

        traced = _export(model, Inputs((X,)))
    else:
        traced = climb(model, [Inputs((X,))], prefer_forward=rung == "recorder")
    seen = read(traced)
    assert seen.rung == rung
    assert isinstance(traced.graph, torch.fx.Graph)
    assert seen.activation_after == {"stem": "gelu", "block.conv1": "relu", "block.conv2": "relu", "fc": "none"}
    assert seen.norm_after == {"stem": False, "block.conv1": True, "block.conv2": True, "fc": False}
    assert seen.skip_after["block.conv2"] and not seen.skip_after["block.conv1"]
    assert seen.heads == ["fc"] and seen.output_activation == "softmax"
    assert "spare.weight" not in seen.reached and "block.bn2.bias" in seen.reached


def test_json_and_back() -> None:
    model = Net()
    facts = facts_of(model, torch.optim.AdamW(model.parameters()), X)
    assert ModelFacts.from_json(facts.to_json()) == facts
    report = FactsReport([facts], [])
    assert FactsReport.from_dict(report.to_dict()) == report
    with pytest.raises(ValueError, match="schema"):
        ModelFacts.from_json('{"schema": 999}')
    with pytest.raises(ValueError):
        ModelFacts.from_json("[]")


def test_a_live_model_is_left_as_it_was() -> None:
    model = Net().eval()
    seen: list[str] = []
    model.fc.register_forward_hook(lambda *_: seen.append("ran"))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    facts_of(model, example=X)
    import tricklint

    tricklint.check_model(model, example=X)
    assert not model.training and not seen
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_parameters_know_their_kind() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(10, 4)
            self.pos_embed = nn.Parameter(torch.zeros(1, 6, 4))
            self.gamma = nn.Parameter(torch.ones(4))
            self.temperature = nn.Parameter(torch.ones(()))
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.lstm = nn.LSTM(4, 4, batch_first=True)
            self.norm = nn.LayerNorm(4)
            self.raw = nn.Parameter(torch.randn(4, 3))

        def forward(self, tokens):
            x = self.embed(tokens) + self.pos_embed[:, : tokens.shape[1]]
            x, _ = self.attention(x, x, x)
            x, _ = self.lstm(self.norm(x) * self.gamma)
            return x @ self.raw / self.temperature

    facts = facts_of(Odd(), example=torch.zeros(2, 6, dtype=torch.int64))
    kinds = {p.name: p.kind for p in facts.parameters}
    assert kinds["embed.weight"] == kinds["pos_embed"] == "embedding"
    assert kinds["gamma"] == kinds["temperature"] == "scalar"
    assert kinds["attention.in_proj_weight"] == kinds["lstm.weight_hh_l0"] == kinds["raw"] == "matrix"
    assert kinds["attention.in_proj_bias"] == kinds["lstm.bias_ih_l0"] == kinds["attention.out_proj.bias"] == "bias"
    assert kinds["norm.weight"] == kinds["norm.bias"] == "norm"
    assert not facts.unused


def test_unused_is_what_a_backward_leaves_without_gradient() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
            self.frozen = nn.Linear(4, 4).requires_grad_(False)

        def forward(self, x):
            x = self.a(x)
            with torch.no_grad():
                self.b(x)
            return self.c(self.frozen(x)), self.b(x).argmax(1)

    model = Partly()
    out, _ = model(torch.randn(3, 4))
    out.sum().backward()
    none = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert {p.name for p in facts_of(model).unused} == none == {"b.weight", "b.bias"}


def test_tied_weights_are_one_parameter() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, tokens):
            return self.head(self.embed(tokens))

    facts = facts_of(Tied())
    (only,) = facts.parameters
    assert only.kind == "embedding" and only.tied_to == ("head.weight",) and only.used
    assert [head.path for head in facts.heads] == ["head"] and facts.heads[0].classes == 20


def test_memory_is_what_autograd_keeps() -> None:
    """An MLP in float32: Linear keeps its input, ReLU its output, so 64 + 128 (shared) + 128 numbers a sample."""
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    facts = facts_of(model, example=torch.zeros(4, 64))
    assert facts.memory is not None
    assert facts.memory.per_sample == 4 * (64 + 128 + 128)
    weights = sum(p.numel() for p in model.parameters()) * 4
    assert facts.memory.fixed == weights * 4  # weights, gradients, Adam's two moments
    card = 10**6
    most = facts.memory.largest_batch(card)
    assert facts.memory.bytes_for(most) <= card * 0.92 < facts.memory.bytes_for(most + 1)


def test_attention_counts_as_the_fused_kernel() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(16, 48)

        def forward(self, x):
            q, k, v = self.qkv(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
            return F.scaled_dot_product_attention(q, k, v)

    short = facts_of(Attention(), example=torch.zeros(2, 64, 16)).memory
    long = facts_of(Attention(), example=torch.zeros(2, 256, 16)).memory
    assert short is not None and long is not None
    assert long.per_sample == pytest.approx(4 * short.per_sample)  # grows with L, not with L²


def test_initialisations_are_told_apart() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d = (nn.Linear(256, 256) for _ in range(4))
            nn.init.kaiming_normal_(self.b.weight, nonlinearity="relu")
            nn.init.xavier_uniform_(self.c.weight)
            nn.init.zeros_(self.d.weight)

        def forward(self, x):
            return self.d(torch.tanh(self.c(F.relu(self.b(F.relu(self.a(x)))))))

    facts = facts_of(Mixed())
    assert {layer.path: layer.init for layer in facts.layers} == {
        "a": "default",
        "b": "kaiming",
        "c": "xavier",
        "d": "zero",
    }
    assert [layer.own_init for layer in facts.layers] == [False, True, True, True]
    assert facts.layers[1].kaiming_std == pytest.approx(math.sqrt(2 / 256), rel=1e-4)


def test_a_build_on_meta_knows_the_same_as_real_weights(trace) -> None:
    text = """
        import torch
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b, self.c, self.d, self.e = (nn.Linear(256, 256) for _ in range(5))
                nn.init.kaiming_normal_(self.b.weight)
                nn.init.trunc_normal_(self.c.weight, std=0.02)
                self.d.weight.data.normal_(0, 0.05)
                nn.init.orthogonal_(self.e.weight)
                self.f = nn.Parameter(torch.randn(256, 8) * 0.3)
            def forward(self, x):
                return self.e(self.d(self.c(self.b(self.a(x).relu()).relu()))) @ self.f
    """
    facts = trace({"models.py": text}, "models.py:Net")
    std = {p.name: p.std for p in facts.parameters}
    wanted = {"a": 1 / math.sqrt(3 * 256), "b": math.sqrt(2 / 256), "c": 0.02, "d": 0.05, "e": 1 / 16}
    for name, value in wanted.items():
        assert std[f"{name}.weight"] == pytest.approx(value, rel=0.02), name
    assert std["f"] == pytest.approx(0.3)
    assert {layer.path: layer.init for layer in facts.layers}["a"] == "default"


def test_the_signal_of_a_deep_relu_stack() -> None:
    from tricklint.trace.judge import plain_stack, signal_ratio
    from tricklint.trace.signal import measure_signal

    layers = [m for _ in range(12) for m in (nn.Linear(128, 128), nn.ReLU())]
    torch.manual_seed(0)
    model = nn.Sequential(*layers, nn.Linear(128, 10))
    facts = facts_of(model)
    measure_signal(model, facts, copy_model=True)
    ratio = signal_ratio(plain_stack(facts))
    assert ratio == pytest.approx(0.41, abs=0.04)  # what PyTorch's default loses a layer
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    facts = facts_of(model)
    measure_signal(model, facts, copy_model=True)
    assert signal_ratio(plain_stack(facts)) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize(
    ("written", "named"),
    [
        (lambda x: x * torch.sigmoid(x), "silu"),
        (lambda x: 0.5 * x * (1 + torch.tanh(0.79788 * (x + 0.044715 * x**3))), "gelu"),
        (lambda x: x * torch.tanh(F.softplus(x)), "mish"),
        (lambda x: x.clamp(min=0), "relu"),
        (lambda x: torch.clamp(x, 0, 6), "relu6"),
        (lambda x: F.leaky_relu(x, 0.2), "leaky_relu"),
        (lambda x: F.dropout(x, 0.1).tanh_(), "tanh"),
        (lambda x: x * 0.5 + 1, "none"),
    ],
)
def test_activations_written_by_hand(written, named: str) -> None:
    class Hand(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.b(written(self.a(x)))

    assert outline(Hand()).activation_after["a"] == named
    recorded = read(climb(Hand(), [Inputs((torch.zeros(2, 4),))], prefer_forward=True))
    assert recorded.activation_after["a"] == named


class Cosine(nn.Module):
    def __init__(self, way: str, classes: int = 100) -> None:
        super().__init__()
        self.way = way
        self.weight = nn.Parameter(torch.randn(classes, 8))
        self.logit_scale = nn.Parameter(torch.tensor(2.6))

    def forward(self, x):
        free = self.weight if self.way == "free" else F.normalize(self.weight, dim=1)
        if self.way == "by hand":
            x = x / x.norm(dim=1, keepdim=True)
        else:
            x = F.normalize(x, dim=1)
        logits = F.linear(x, free)
        if self.way == "learnt":
            return logits * self.logit_scale.exp()
        if self.way == "temperature":
            return logits / 0.07
        if self.way == "before":
            return F.linear(x * 30.0, free)
        return logits if self.way == "none" else logits * 4.0


@pytest.mark.parametrize(
    ("way", "both", "scale", "learnable"),
    [
        ("constant", True, 4.0, False),
        ("free", False, 4.0, False),
        ("by hand", True, 4.0, False),
        ("none", True, None, False),
        ("learnt", True, None, True),
        ("temperature", True, 1 / 0.07, False),
    ],
)
@pytest.mark.parametrize("forward", [False, True])
def test_normalised_products(way: str, both: bool, scale: float | None, learnable: bool, forward: bool) -> None:
    from tricklint.trace.analysis import products

    model = Cosine(way)
    (product,) = products(read(climb(model, [Inputs((torch.zeros(2, 8),))], prefer_forward=forward)).ops)
    assert product.weights_normalised is both and product.learnable is learnable
    assert product.scale == (None if scale is None else pytest.approx(scale))


def test_opaque_share_refuses_an_fx_graph() -> None:
    class Branchy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(64, 64)

        def forward(self, x):
            if x.sum() > 0:
                x = -x
            return self.inner(x)

    class Outer(nn.Module):
        def __init__(self, wide: int) -> None:
            super().__init__()
            self.branchy, self.head = Branchy(), nn.Linear(64, wide)

        def forward(self, x):
            return self.head(self.branchy(x))

    small = climb(Outer(400), [])
    assert small.rung == "fx-leaves" and 0.1 < small.opaque_share < 0.2
    big = climb(Outer(2), [])
    assert big.rung == "tree" and "opaque" in " ".join(big.tried)
    run = climb(Outer(2), [Inputs((torch.zeros(2, 64),))])
    assert run.rung == "recorder" and read(run).heads == ["head"]


def test_values_that_decide_are_traced_on_real_tensors(trace) -> None:
    text = """
        import torch
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = nn.Linear(12, 12), nn.Linear(12, 2)
            def forward(self, x):
                h = torch.relu(self.a(x))
                return self.b(h * 0.5 if h.sum().item() > 1e9 else h)
    """
    facts = trace({"models.py": text}, "models.py:Net")
    assert facts.rung == "recorder-cpu" and facts.heads[0].path == "b" and facts.layers[0].activation == "relu"
    assert facts.memory is not None and facts.tried


def test_layers_in_a_list_are_seen() -> None:
    class Lost(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(4, 4), nn.Linear(4, 4)]
            self.out = nn.Linear(4, 2)

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return self.out(x)

    (lost,) = facts_of(Lost()).unregistered
    assert (lost.attribute, lost.layers, lost.parameters) == ("layers", 2, 40)


def test_a_size_is_no_signal() -> None:
    """A width read off x must not connect x with what is reshaped to it."""

    class Sizes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            x = self.a(x)
            n, _ = x.shape
            y = self.b(x).view(n, x.size(1)).relu()
            return self.c(y)

    follows = outline(Sizes()).activation_after
    assert follows == {"a": "none", "b": "relu", "c": "none"}


def test_a_sum_of_heads_is_no_residual() -> None:
    class Wide(nn.Module):
        def __init__(self, skip: bool) -> None:
            super().__init__()
            self.skip = skip
            self.wide, self.deep = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6))

        def forward(self, x):
            return (x if self.skip else self.wide(x)) + self.deep(x)

    assert sorted(outline(Wide(False)).heads) == ["deep.2", "wide"]
    features = outline(Wide(True))
    assert features.heads == [] and "residual" in features.reason


def test_a_live_model_that_looks_at_values() -> None:
    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.a, self.b = nn.BatchNorm1d(8), nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, x):
            h = torch.relu(self.a(self.norm(x)))
            return self.b(h if h.sum().item() < 1e9 else -h)

    model = Looks()
    mean = model.norm.running_mean.clone()
    facts = facts_of(model)
    assert facts.rung == "recorder-cpu" and facts.heads[0].path == "b" and not facts.unused
    assert torch.equal(mean, model.norm.running_mean)
    assert outline(model).activation_after == {"a": "relu", "b": "none"}


def test_a_forward_that_runs_in_eval_only_leaves_use_open() -> None:
    class Trains(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.aux = nn.Linear(8, 2), nn.Linear(8, 2)

        def forward(self, x, targets=None):
            if self.training:
                assert targets is not None, "targets should not be none in train mode"
                return self.aux(x)
            return self.a(x)

    facts = facts_of(Trains())
    assert facts.eval_only and not facts.unused
    assert {p.name: p.used for p in facts.parameters}["aux.weight"] is None
