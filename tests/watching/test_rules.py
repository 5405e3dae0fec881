"""What each rule makes of a run: a mistake that happens, and the same program without it. Names are hidden from reading
(`build` looks things up by words put together), so that what is found was seen."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from .helpers import watched

HEAD = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

F = nn.functional
torch.manual_seed(0)


def build(*sizes):
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU(), nn.Dropout(0.1)]
    return nn.Sequential(*layers[:-3])


def fit(net, optimizer, rounds=3, loss=F.cross_entropy):
    for _ in range(rounds):
        optimizer.zero_grad()
        loss(net(torch.randn(16, 6)), torch.randint(0, 3, (16,))).backward()
        optimizer.step()


def head_on(net):
    net[-1] = nn.Linear(net[-1].in_features, 3)
    return net


def loaded():
    net = build(6, 8, 8, 5)
    net.load_state_dict({name: value.clone() for name, value in net.state_dict().items()})  # LOADED
    return head_on(net)


SGD = vars(torch.optim)["SG" + "D"]
"""
# code → (the script below HEAD, with `# HERE` at the row of the finding; what is put in place of BAD; of GOOD)
CASES: dict[str, tuple[str, str, str]] = {
    "TRK101": (
        """
        net = loaded()
        INSERT
        fit(net, SGD(net.parameters(), lr=0.01))
        """,
        "",
        "net[:4].requires_grad_(False)",
    ),
    "TRK102": (
        """
        net = loaded()
        for p in net[:4].parameters():
            p.requires_grad = False
        optimizer = SGD(net.parameters(), lr=0.01)
        fit(net, optimizer)
        INSERT
        for p in net[:4].parameters():
            p.requires_grad = True  # HERE
        fit(net, optimizer)
        """,
        "",
        "optimizer.param_groups[0]['lr'] = 0.001",
    ),
    "TRK103": (
        """
        net = loaded()
        net[:4].requires_grad_(False)
        optimizer = SGD([p for p in net.parameters() if p.requires_grad], lr=0.01)
        fit(net, optimizer)
        net[:4].requires_grad_(True)  # HERE
        INSERT
        fit(net, optimizer)
        """,
        "",
        "optimizer.add_param_group({'params': list(net[:4].parameters()), 'lr': 0.001})",
    ),
    "TRK104": (
        """
        net = loaded()
        for p in net[:2].parameters():
            p.requires_grad = False  # HERE
        INSERT
        fit(net, SGD(net[2:].parameters(), lr=0.01))
        """,
        "net.train()",
        "net[:2].eval()",
    ),
    "TRK105": (
        """
        net = loaded()
        for m in net.modules():
            if INSERT:
                nn.init.xavier_uniform_(m.weight)  # HERE
        fit(net, SGD(net[8:].parameters(), lr=0.01))
        """,
        "isinstance(m, nn.Linear)",
        "m is net[8]",
    ),
    "TRK107": (
        """
        net = loaded()
        INSERT  # HERE
        fit(net, SGD(net.parameters(), lr=0.01))
        """,
        "net[0].requires_grad = False",
        "net[0].requires_grad_(False)",
    ),
    "TRK201": (
        """
        body, weights = build(6, 8, 8), nn.Parameter(torch.randn(3, 8))
        optimizer = SGD([*body.parameters(), weights], lr=0.1)
        fit(body, optimizer, loss=lambda x, y: F.cross_entropy(INSERT F.linear(F.normalize(x), F.normalize(weights)), y))  # HERE
        """,
        "",
        "16.0 *",
    ),
    "TRK302": (
        """
        net = build(6, 8, 3)
        optimizer = SGD(net.parameters(), lr=0.1)
        total = 0.0
        for _ in range(8):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(torch.randn(16, 6)), torch.randint(0, 3, (16,)))
            loss.backward()
            optimizer.step()
            total += INSERT  # HERE
        """,
        "loss",
        "loss.item()",
    ),
    "TRK303": (
        """
        net = build(6, 8, 3)
        fit(net, SGD(net.parameters(), lr=0.1))
        net.eval()
        with INSERT:
            for x in torch.randn(4, 16, 6):
                print(net(x).argmax(1))  # HERE
        """,
        "torch.enable_grad()",
        "torch.no_grad()",
    ),
    "TRK401": (
        """
        import pandas as pd

        frame = pd.DataFrame({"a": range(20)})
        total = 0
        for row in INSERT:  # HERE
            total += 1
        """,
        "getattr(frame, 'iter' + 'rows')()",
        "frame.itertuples()",
    ),
    "TRK402": (
        """
        import pandas as pd

        frame, parts = pd.DataFrame({"a": [0]}), []
        add = getattr(pd, "con" + "cat")
        for number in range(6):
            piece = pd.DataFrame({"a": [number]})
            INSERT  # HERE
        add([frame, *parts])
        """,
        "frame = add([frame, piece])",
        "parts.append(piece)",
    ),
    "TRK501": (
        """
        net = build(6, 8, 3)  # ANYWHERE
        INSERT
        fit(net, SGD(net.parameters(), lr=0.1))
        """,
        "",
        "[nn.init.kaiming_normal_(m.weight) for m in net if isinstance(m, nn.Linear)]",
    ),
    "TRK502": (
        """
        net = nn.Sequential(nn.Linear(32, 64), nn.Dropout(0.1), nn.Tanh(), nn.Linear(64, 64), nn.Dropout(0.1), nn.Tanh(), nn.Linear(64, 3))
        for m in net[:4]:
            if isinstance(m, nn.Linear):
                vars(nn.init)["kaiming_" + "normal_"](m.weight, nonlinearity=INSERT)  # HERE
        optimizer = SGD(net.parameters(), lr=0.1)
        F.cross_entropy(net(torch.randn(16, 32)), torch.randint(0, 3, (16,))).backward()
        optimizer.step()
        """,
        "'relu'",
        "'tanh'",
    ),
    "TRK503": (
        """
        body, head = build(6, 8, 8), nn.Linear(8, 20)  # HERE
        INSERT
        optimizer = SGD([*body.parameters(), *head.parameters()], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            logits = head(body(torch.randn(64, 6))).unflatten(1, (4, 5))
            F.binary_cross_entropy_with_logits(logits, (torch.rand(64, 4, 5) < 0.02).float()).backward()
            optimizer.step()
        """,
        "",
        "nn.init.constant_(head.bias, -3.9)",
    ),
    "TRK504": (
        """
        net = build(6, 8, 3)
        for m in net.modules():
            if isinstance(m, nn.Linear):
                INSERT  # HERE
        fit(net, SGD(net.parameters(), lr=0.1))
        """,
        "nn.init.constant_(m.weight, 0.5)",
        "nn.init.xavier_uniform_(m.weight)",
    ),
    "TRK601": (
        """
        net = build(6, 8, 3)
        optimizer = SGD(net.parameters(), lr=0.1, weight_decay=INSERT)  # HERE
        fit(net, optimizer)
        """,
        "0.01",
        "0.0",
    ),
    "TRK602": (
        """
        net = build(6, 8, 3)
        some = [p for m in net.modules() if isinstance(m, INSERT) for p in m.parameters(recurse=False)]
        groups = [[p for p in some if p.ndim > 1], [p for p in some if p.ndim < 2]]
        optimizer = SGD([{"params": group} for group in groups], lr=0.1)  # HERE
        fit(net, optimizer)
        """,
        "nn.Linear",
        "nn.Module",
    ),
    "TRK701": (
        """
        net = build(6, 8, 3)
        optimizer = SGD(net.parameters(), lr=0.1)
        for _ in range(4):
            INSERT
            F.cross_entropy(net(torch.randn(16, 6)), torch.randint(0, 3, (16,))).backward()  # HERE
            optimizer.step()
        """,
        "pass",
        "[setattr(p, 'grad', None) for p in net.parameters()]",
    ),
    "TRK702": (
        """
        net = build(6, 8, 3)
        fit(net, SGD(net.parameters(), lr=0.1), loss=lambda x, y: F.cross_entropy(INSERT, y))  # HERE
        """,
        "x.softmax(1)",
        "x",
    ),
    "TRK703": (
        """
        net = build(6, 8, 3)
        fit(net, SGD(net.parameters(), lr=0.1))
        INSERT
        with torch.no_grad():
            for x in torch.randn(4, 16, 6):
                print(net(x).argmax(1))  # HERE
        """,
        "",
        "net.eval()",
    ),
    "TRK704": (
        """
        net = build(6, 8, 3)
        optimizer = SGD(net.parameters(), lr=0.1)
        INSERT = torch.optim.lr_scheduler.StepLR(optimizer, 2), 3
        for _ in range(3):
            if one != 3:
                one.step()  # HERE
            fit(net, optimizer, 1)
            if two != 3:
                two.step()
        """,
        "one, two",
        "two, one",
    ),
    "TRK705": (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(8, 3)
                self.bodies = INSERT  # HERE

            def forward(self, x):
                return self.head(self.bodies[0](x))


        net = Net()
        fit(net, SGD(net.parameters(), lr=0.1))
        """,
        "list([build(6, 8, 8)])",
        "nn.ModuleList([build(6, 8, 8)])",
    ),
    "TRK706": (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = build(6, 8, 3)
                self.spare = nn.Linear(4, 4)

            def forward(self, x):
                return self.body(x) + INSERT * self.spare(torch.ones(4))[0]


        class Bare(Net):  # HERE
            def forward(self, x):
                return self.body(x)


        net = (Net if INSERT else Bare)()
        fit(net, SGD(net.parameters(), lr=0.1))
        """,
        "0",
        "1",
    ),
    "TRK707": (
        """
        data = TensorDataset(torch.randn(32, 6), torch.randint(0, 3, (32,)))
        sampler = torch.utils.data.DistributedSampler(data, num_replicas=1, rank=0)  # HERE
        loader = DataLoader(data, 8, sampler=sampler)
        net = build(6, 8, 3)
        optimizer = SGD(net.parameters(), lr=0.1)
        for epoch in range(3):
            INSERT
            for x, y in loader:
                fit(net, optimizer, 1)
        """,
        "pass",
        "sampler.set_epoch(epoch)",
    ),
}


def script(code: str, part: str) -> str:
    import textwrap

    return HEAD + textwrap.dedent(CASES[code][0]).replace("INSERT", part)


@pytest.mark.parametrize("code", CASES)
def test_a_mistake_is_seen_in_the_run(code: str, tmp_path: Path) -> None:
    text = script(code, CASES[code][1])
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    rows = {row for one, _, row in seen.places(code) if one == code}
    mark = "# LOADED" if code == "TRK101" else "# HERE"
    wanted = {row for row, line in enumerate(text.splitlines(), 1) if mark in line}
    if "# ANYWHERE" in text:
        assert rows
    else:
        assert rows == wanted, (rows, wanted)
    assert all(one.confirmed.startswith("watched: ") for one in seen.findings(code))


@pytest.mark.parametrize("code", CASES)
def test_a_run_without_it_is_silent(code: str, tmp_path: Path) -> None:
    seen = watched(tmp_path, script(code, CASES[code][2]))
    assert not seen.why, seen.output
    assert not seen.findings(code)


def test_every_rule_that_a_run_tells_about_has_a_case() -> None:
    from tricklint.rule import Rule, discover

    judged = {rule.code for rule in discover() if type(rule).watched is not Rule.watched}
    assert judged - set(CASES) <= {"TRK106", "TRK203"}
    assert len(list(itertools.chain(CASES))) == len(CASES)


_PIXELS = "torch.randint(0, 256, (2, 3, 64, 64)) / 255"
_IMAGENET = f"({_PIXELS} - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)"


@pytest.mark.parametrize(
    ("pictures", "bad"),
    [
        ("torch.rand(2, 3, 64, 64)", True),
        ("torch.randn(2, 3, 64, 64)", False),
        (f"({_PIXELS} - 0.5) / 0.5", True),
        (f"(({_PIXELS})[:, :1].expand(2, 3, 64, 64) - 0.5) / 0.25", True),
        (_IMAGENET, False),
    ],
)
def test_pictures_for_a_pretrained_first_layer(pictures: str, bad: bool, tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    text = f"""
        import torch
        from torchvision import models

        model = getattr(models, "resnet" + "18")(weights="DEFAULT").eval()
        with torch.no_grad():
            print(model({pictures}).argmax(1))
    """
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    assert seen.places("TRK203") == ([("TRK203", "train.py", 7)] if bad else [])
    if bad:
        assert "conv1.weight got" in seen.findings("TRK203")[0].confirmed


@pytest.mark.parametrize(("mean", "bad"), [("(0.5, 0.5, 0.5)", False), ("(0.485, 0.456, 0.406)", True)])
def test_weights_that_say_how_their_pictures_were_normalised(mean: str, bad: bool, tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    text = f"""
        import torch
        from torchvision import models

        model = getattr(models, "resnet" + "18")(weights="DEFAULT").eval()
        model.pretrained_cfg = {{"mean": {mean}, "std": (0.5, 0.5, 0.5) if {mean}[0] == 0.5 else (0.229, 0.224, 0.225)}}
        with torch.no_grad():
            print(model(({_PIXELS} - 0.5) / 0.5).argmax(1))
    """
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    assert seen.places("TRK203") == ([("TRK203", "train.py", 8)] if bad else [])


RARE = """
body, head = build(6, 8, 8), nn.Linear(8, {outputs})
optimizer = SGD([*body.parameters(), *head.parameters()], lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    {loss}.backward()
    optimizer.step()
"""
_X = "head(body(torch.randn(256, 6)))"
_CLASSES = "torch.multinomial(torch.tensor([0.96, 0.02, 0.02]), 256, True)"


@pytest.mark.parametrize(
    ("outputs", "loss", "bad"),
    [
        (3, f"F.cross_entropy({_X}, {_CLASSES})", True),
        (3, f"F.cross_entropy({_X}, {_CLASSES}, torch.tensor([0.02, 1.0, 1.0]))", False),  # the weights even it out
        (3, f"F.cross_entropy({_X}, torch.randint(0, 3, (256,)))", False),
        (3, f"F.nll_loss({_X}.log_softmax(1), {_CLASSES})", True),
        (1, f"F.binary_cross_entropy({_X}.sigmoid().squeeze(1), (torch.rand(256) < 0.03).float())", True),
        (1, f"F.binary_cross_entropy({_X}.sigmoid().squeeze(1), torch.zeros(256))", False),  # one kind alone
        (1, f"F.binary_cross_entropy({_X}.sigmoid().squeeze(1), (torch.rand(256) < 0.3).float())", False),
        (
            1,
            "F.binary_cross_entropy_with_logits(head(body(torch.randn(8, 6))), torch.eye(8)[0].unsqueeze(1))",
            False,
        ),  # 3 of 24
        (
            300,
            "F.cross_entropy(head(body(torch.randn(16, 6))), torch.randint(0, 300, (16,)))",
            False,
        ),  # few of many classes
        (
            1,
            f"F.binary_cross_entropy_with_logits({_X}, (torch.rand(256, 1) < 0.03).float(), pos_weight=torch.tensor(32.0))",
            False,
        ),
    ],
)
def test_how_rare_positives_are(outputs: int, loss: str, bad: bool, tmp_path: Path) -> None:
    seen = watched(tmp_path, HEAD + RARE.format(outputs=outputs, loss=loss))
    assert not seen.why, seen.output
    assert bool(seen.findings("TRK503")) is bad


@pytest.mark.parametrize(
    ("size", "freeze", "head", "bad"),
    [
        ("'small'", "", "nn.Linear(8, 3)", True),
        ("'small'", "net[:8].requires_grad_(False)", "nn.Linear(8, 3)", False),
        (
            "'small'",
            "net[:8].requires_grad_(False)",
            "nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))",
            True,
        ),
        ("20000", "net[:8].requires_grad_(False)", "nn.Linear(8, 3)", True),
        ("20000", "net[:4].requires_grad_(False)", "nn.Linear(8, 3)", False),
    ],
)
def test_the_recipe_that_the_settings_ask_for(size: str, freeze: str, head: str, bad: bool, tmp_path: Path) -> None:
    text = (
        HEAD
        + f"""
net = build(6, 8, 8, 5)
net.load_state_dict({{name: value.clone() for name, value in net.state_dict().items()}})
net[-1] = {head}
{freeze}
fit(net, SGD(net.parameters(), lr=0.01))
"""
    )
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    config = (f"transfer.dataset-size = {size}", "transfer.similarity = 'similar'")
    found = seen.findings("TRK106", config=config)
    assert [one.location.row for one in found] == (
        [next(r for r, line in enumerate(text.splitlines(), 1) if line.startswith("net.load"))] if bad else []
    )
    assert not seen.findings("TRK106")  # nothing is configured


ONE_BATCH = """
data = TensorDataset(torch.randn(32, 6), torch.randint(0, 3, (32,)))
training, testing = DataLoader(data, 16), DataLoader(data, 32)
net = build(6, 8, 3)
optimizer = SGD(net.parameters(), lr=0.1)
for epoch in range(3):
    net.train()
    for x, y in training:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    {mode}
    with torch.set_grad_enabled({grad}):
        for x, y in {loader}:
            print(net(x).argmax(1))  # HERE
            break
"""


@pytest.mark.parametrize(
    ("mode", "grad", "loader", "code"),
    [
        ("pass", "False", "testing", "TRK703"),
        ("net.eval()", "False", "testing", ""),
        ("net.eval()", "True", "testing", "TRK303"),
        ("pass", "False", "training", ""),  # a look at what it gives, between batches of the training
        ("net.eval()", "True", "[next(iter(testing))]", "TRK303"),
    ],
)
def test_an_evaluation_of_one_batch_an_epoch(mode: str, grad: str, loader: str, code: str, tmp_path: Path) -> None:
    text = HEAD + ONE_BATCH.format(mode=mode, grad=grad, loader=loader)
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    row = next(row for row, line in enumerate(text.splitlines(), 1) if "# HERE" in line)
    assert seen.places("TRK703", "TRK303") == ([(code, "train.py", row)] if code else [])


@pytest.mark.parametrize(("before", "loaded", "bad"), [("pass", True, True), ("net.eval()", True, False), ("pass", False, False)])
def test_a_script_that_only_evaluates_loaded_weights(before: str, loaded: bool, bad: bool, tmp_path: Path) -> None:
    load = "net.load_state_dict({name: value.clone() for name, value in net.state_dict().items()})" if loaded else ""
    text = HEAD + f"""
net = build(6, 8, 3)
{load}
{before}
with torch.no_grad():
    for x, y in DataLoader(TensorDataset(torch.randn(32, 6), torch.randint(0, 3, (32,))), 8):
        print(net(x).argmax(1))  # HERE
"""
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    row = next(row for row, line in enumerate(text.splitlines(), 1) if "# HERE" in line)
    assert seen.places("TRK703") == ([("TRK703", "train.py", row)] if bad else [])


@pytest.mark.parametrize("kept", ["losses.append(loss)  # HERE", "losses.append(loss.item())"])
def test_a_list_of_the_module_that_a_function_fills(kept: str, tmp_path: Path) -> None:
    """… and one that each round begins anew, of a model with two outputs: it keeps one round's graph."""
    text = HEAD + f"""
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = build(6, 8, 3), build(6, 8, 3)

    def forward(self, x):
        return self.one(x), self.two(x)


losses = []


def train(net, optimizer):
    of_this_round = []
    optimizer.zero_grad()
    one, two = net(torch.randn(16, 6))
    loss = F.cross_entropy(one + two, torch.randint(0, 3, (16,)))
    loss.backward()
    optimizer.step()
    of_this_round.append(loss)
    {kept}
    return of_this_round


net = Two()
optimizer = SGD(net.parameters(), lr=0.1)
for _ in range(9):
    train(net, optimizer)
"""
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    rows = [row for row, line in enumerate(text.splitlines(), 1) if "# HERE" in line]
    assert [row for _, _, row in seen.places("TRK302")] == rows


def test_a_row_that_stands_twice_is_confirmed_where_it_ran(tmp_path: Path) -> None:
    loop = """
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(torch.randn(16, 6)), torch.randint(0, 3, (16,)))
        loss.backward()
        optimizer.step()
        losses.append(loss)
"""
    text = f"{HEAD}\ndef runs(net, optimizer):{loop}\n\ndef never(net, optimizer):{loop}\n\nnet = build(6, 8, 3)\nruns(net, SGD(net.parameters(), lr=0.1))\n"
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    rows = [row for row, line in enumerate(text.splitlines(), 1) if "losses.append(loss)" in line]
    assert [one.location.row for one in seen.findings("TRK302")] == rows[:1]


def test_what_another_optimizer_trains_is_reached(tmp_path: Path) -> None:
    text = HEAD + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.one, self.two = build(6, 8, 8), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        return self.one(self.body(x)), self.two(self.body(x))


net = Net()
for optimizer, head in [(SGD(net.parameters(), lr=0.1), 0), (SGD(net.parameters(), lr=0.1), 1)] * 3:
    optimizer.zero_grad()
    F.cross_entropy(net(torch.randn(16, 6))[head], torch.randint(0, 3, (16,))).backward()
    optimizer.step()
"""
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    assert len(seen.record.facts("idle")) == 2 and not seen.findings("TRK706")


def test_what_the_last_backward_reached_is_written(tmp_path: Path) -> None:
    """One round over time steps: its graphs are alive at once, and a backward reaches all of them at the very end."""
    text = HEAD + """
net = build(6, 8, 3)
optimizer = SGD(net.parameters(), lr=0.1)
total, outputs = 0, []
for _ in range(7):
    outputs.append(net(torch.randn(16, 6)))
    total = total + F.cross_entropy(outputs[-1], torch.randint(0, 3, (16,)))
total.backward()
optimizer.step()
"""
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    (forward,) = seen.record.forwards
    assert (forward.count, forward.reached, forward.unreached) == (7, 7, 0)
    assert not seen.findings("TRK302") and not seen.findings("TRK303")


def test_probabilities_of_one_model_in_two_losses_are_one_finding(tmp_path: Path) -> None:
    text = HEAD + """
net = nn.Sequential(build(6, 8, 3), nn.Softmax(1))
optimizer = SGD(net.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    real = F.cross_entropy(net(torch.randn(16, 6)), torch.randint(0, 3, (16,)))  # HERE
    fake = F.cross_entropy(net(torch.randn(16, 6)), torch.randint(0, 3, (16,)))
    (real + fake).backward()
    optimizer.step()
"""
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    row = next(row for row, line in enumerate(text.splitlines(), 1) if "# HERE" in line)
    (found,) = [one for one in seen.findings("TRK702") if one.confirmed]
    rows = {found.location.row, *(each.location.row for each in found.evidence)}
    assert row in rows and "6 calls" in found.confirmed
