"""A watched run is the user's run: the same weights to the last bit, the same random numbers, nothing of ours imported."""

from __future__ import annotations

import json
from pathlib import Path

from .helpers import Seen, tricklint, watched, write

TRAINING = """
    import hashlib
    import random

    import numpy as np
    import torch
    from torch import nn

    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.3))
            self.rnn = nn.LSTM(8, 8, batch_first=True)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            x = self.body(x).flatten(2).transpose(1, 2)
            return self.head(self.rnn(x)[0][:, -1])


    net = Net()
    nn.init.kaiming_normal_(net.head.weight)
    data = torch.utils.data.TensorDataset(torch.randn(64, 1, 8, 8), torch.randint(0, 4, (64,)))
    loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True, num_workers=NUMBER)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 24)
    total = 0.0
    for epoch in range(3):
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x + random.random() + np.random.rand()), y)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            total += loss.item()
        net.eval()
        with torch.no_grad():
            total += net(data.tensors[0]).sum().item()
    digest = hashlib.sha256()
    for value in net.state_dict().values():
        digest.update(value.numpy().tobytes())
    drawn = (torch.rand(2).tolist(), random.random(), float(np.random.rand()))
    print("RESULT", digest.hexdigest(), total, drawn)
"""


def result(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("RESULT"))


def test_the_results_are_bit_equal(tmp_path: Path) -> None:
    script = write(tmp_path, "project/train.py", TRAINING.replace("NUMBER", "2"))
    plain, seen = Seen(script, hooks=False), Seen(script, steps=None)
    assert result(seen.output) == result(plain.output)
    assert seen.record.steps == 24 and seen.record.end is not None and seen.record.end["status"] == "ended"


def test_nothing_else_of_ours_is_imported(tmp_path: Path) -> None:
    write(
        tmp_path,
        "train.py",
        """
        import sys

        import torch

        net = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net(torch.randn(4, 2)).sum().backward()
        optimizer.step()
        print("OURS", sorted(name for name in sys.modules if name.split(".")[0] in ("tricklint", "click", "libcst", "rich")))
        """,
    )
    done = tricklint(tmp_path, "watch", "--steps", "0", "train.py", "--isolated")
    line = next(line for line in done.stderr.splitlines() if line.startswith("OURS"))
    ours = json.loads(line[5:].replace("'", '"'))
    allowed = ("tricklint.watching.recorder", "tricklint.verify.runner", "tricklint.trace.kinds")
    parents = {"tricklint", "tricklint.watching", "tricklint.verify", "tricklint.trace"}
    assert ours and all(name.startswith(allowed) or name in parents for name in ours), ours


def test_torchscript_and_compiled_code_still_work(tmp_path: Path) -> None:
    text = """
        import copy
        import pickle

        import torch
        from torch import nn


        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(4, 3)

            def forward(self, x, y):
                return nn.functional.cross_entropy(nn.functional.dropout(self.layer(x), 0.1, self.training), y)


        net = torch.jit.script(Net())
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.randn(8, 4), torch.zeros(8).long()).backward()
            optimizer.step()
        plain = Net().eval()
        for p in plain.parameters():
            p.requires_grad = False
        traced = torch.compile(plain, backend="eager", fullgraph=True)
        x, y = torch.randn(8, 4), torch.zeros(8).long()
        assert torch.equal(traced(x, y), plain(x, y))
        other = pickle.loads(pickle.dumps(copy.deepcopy(plain)))
        assert not any(p.requires_grad for p in other.parameters()) and not hasattr(other, "requires_grad")
        print("WORKED")
    """
    seen = watched(tmp_path, text, steps=None)
    assert "WORKED" in seen.output, seen.output
    assert not seen.places("TRK7", "TRK3")
