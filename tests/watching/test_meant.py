"""What a run shows that only looks like a mistake, beside the mistake itself; and that watching many calls costs little."""

from __future__ import annotations

from pathlib import Path

import pytest

from tricklint.watching.recorder import names

from .helpers import watched
from .test_rules import HEAD

LOOP = """
net = build(6, 8, 8, 3)
optimizer = SGD(net.parameters(), lr=0.01)
data = [torch.randn(4, 6)] * 2 + [torch.randn(4, 6) for _ in range(4)]
fit(net, optimizer)
with torch.no_grad():
    for x in DATA:
        USE  # HERE
fit(net, optimizer)
"""


@pytest.mark.parametrize(
    ("data", "use", "bad"),
    [
        ("data", "print(net(x).argmax(1))", True),
        ("data", "net(x)", False),  # the statistics of its norm layers are taken anew
        ("data[:1] * 20", "print(net(x).std().item())", False),  # what dropout makes of one input
        ("data[:1] * 20", "print(net(x + 0).std().item())", True),  # others, as far as can be seen
    ],
)
def test_train_mode_that_is_meant(data: str, use: str, bad: bool, tmp_path: Path) -> None:
    text = HEAD + LOOP.replace("DATA", data).replace("USE", use)
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    row = next(row for row, line in enumerate(text.splitlines(), 1) if "# HERE" in line)
    assert seen.places("TRK703") == ([("TRK703", "train.py", row)] if bad else [])


@pytest.mark.parametrize(
    ("first", "bad"),
    [
        ("fit(net, SGD(net[-1].parameters(), lr=0.1))", False),
        ("fit(net, SGD(net[0].parameters(), lr=0.1))", True),  # its new layers are as they were drawn
        ("SGD(net[-1].parameters(), lr=0.1)", True),  # … and here: it makes no step
    ],
)
def test_a_head_that_trained_alone_is_not_new(first: str, bad: bool, tmp_path: Path) -> None:
    seen = watched(tmp_path, f"{HEAD}\nnet = loaded()\n{first}\nfit(net, SGD(net.parameters(), lr=0.01))\n")
    assert not seen.why, seen.output
    row = next(row for row, line in enumerate(HEAD.splitlines(), 1) if "# LOADED" in line)
    assert ("TRK101", "train.py", row) in seen.places("TRK101") if bad else not seen.places("TRK101")


@pytest.mark.parametrize(("told", "bad"), [("", True), ("epoch", False), ("epoch=epoch", False)])
def test_a_scheduler_that_is_told_the_epoch_skips_none(told: str, bad: bool, tmp_path: Path) -> None:
    text = f"""{HEAD}
net = build(6, 8, 3)
optimizer = SGD(net.parameters(), lr=0.01)
scheduler = vars(torch.optim.lr_scheduler)["Step" + "LR"](optimizer, 2)
for epoch in range(4):
    scheduler.step({told})
    fit(net, optimizer)
"""
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    assert [code for code, _, _ in seen.places("TRK704")] == ["TRK704"] * bad


def test_a_decay_on_a_schedule_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To look through all objects for the parameters' modules takes as long as several steps."""
    looks: list[int] = []
    plain = names.alive

    def alive() -> list[names.nn.Module]:
        looks.append(0)
        (tmp_path / "looks").write_text(str(len(looks)))  # the run is a fork
        return plain()

    monkeypatch.setattr(names, "alive", alive)
    text = f"""{HEAD}
net = build(6, 8, 3)
optimizer = SGD(net.parameters(), lr=0.01)
for epoch in range(20):
    optimizer.param_groups[0]["weight_decay"] = 0.04 + 0.01 * epoch
    fit(net, optimizer, 1)
"""
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    (optimizer,) = seen.record.optimizers
    assert [group.weight_decay for group in optimizer.at_work] == [0.04]
    assert len(optimizer.groups) == 2  # as it was built, as its first step had it
    assert int((tmp_path / "looks").read_text()) <= 3


def test_a_cell_that_is_called_for_each_word_is_followed_at_first(tmp_path: Path) -> None:
    text = f"""{HEAD}
cell, head = nn.GRUCell(6, 8), nn.Linear(8, 3)
optimizer = SGD([*cell.parameters(), *head.parameters()], lr=0.01)
for _ in range(8):
    state = torch.zeros(4, 8)
    for _ in range(30):
        state = cell(torch.randn(4, 6), state)
    optimizer.zero_grad()
    F.cross_entropy(head(state), torch.zeros(4).long()).backward()
    optimizer.step()
"""
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    (called,) = [one for one in seen.record.forwards if one.type == "GRUCell"]
    assert called.count == 240 and called.most_in_a_row == 30
    assert 90 <= called.reached < 240 and not called.unreached and not called.kept
