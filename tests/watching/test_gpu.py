"""A run on a card, watched: the same weights to the last bit, and the memory of the card in the record."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .helpers import tricklint, write

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

TRAINING = """
    import hashlib

    import torch
    from torch import nn

    torch.manual_seed(3)
    torch.use_deterministic_algorithms(True)


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.3))
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.body(x).mean((2, 3)))


    net = Net().cuda()
    nn.init.kaiming_normal_(net.head.weight)
    data = torch.utils.data.TensorDataset(torch.randn(64, 1, 8, 8), torch.randint(0, 4, (64,)))
    loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True, pin_memory=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.05)
    scaler = torch.amp.GradScaler("cuda")
    total = 0.0
    for epoch in range(3):
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            with torch.autocast("cuda"):
                loss = nn.functional.cross_entropy(net(x.cuda(non_blocking=True)), y.cuda(non_blocking=True))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            total += loss
        net.eval()
        for x, y in loader:
            total += net(x.cuda()).sum().item()
    digest = hashlib.sha256()
    for value in net.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    print("RESULT", digest.hexdigest(), float(total), torch.rand(1, device="cuda").item())
"""


def test_a_watched_run_on_a_card_is_the_users_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    write(tmp_path, "train.py", TRAINING)
    plain = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True)
    assert plain.returncode == 0, plain.stderr
    watched = tricklint(tmp_path, "watch", "train.py")
    result = next(line for line in plain.stdout.splitlines() if line.startswith("RESULT"))
    assert result in watched.stdout + watched.stderr, watched.stdout + watched.stderr
    for code in ("TRK601", "TRK302", "TRK303"):  # decay on norms, losses that keep their graphs, evaluation with them
        assert code in watched.stdout, watched.stdout
