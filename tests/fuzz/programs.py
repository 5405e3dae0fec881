"""Hypothesis programs: training scripts put together from pieces that may or may not fit."""

from __future__ import annotations

from hypothesis import strategies as st

_LAYERS = [
    "nn.Linear(8, 8)", "nn.Conv2d(3, 8, 3)", "nn.BatchNorm1d(8)", "nn.LayerNorm(8)", "nn.ReLU()", "nn.LeakyReLU(0.2)",
    "nn.Dropout(0.1)", "nn.Sequential(nn.Linear(8, 8), nn.Tanh())", "nn.Embedding(10, 8)", "nn.LSTM(8, 8)",
    "nn.TransformerEncoderLayer(8, 2)", "torchvision.models.resnet18(weights='DEFAULT')", "nn.Softmax(dim=1)",
    "nn.utils.weight_norm(nn.Linear(8, 8))", "nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])",
]  # fmt: skip
_OPTIMIZERS = [
    "torch.optim.SGD({p}, lr=0.1, weight_decay=5e-4)", "torch.optim.AdamW({p})", "torch.optim.Adam({p}, lr=1e-3)",
    "torch.optim.SGD([{{'params': {p}}}, {{'params': net.head.parameters(), 'lr': 1}}], lr=0.1)",
    "torch.optim.AdamW([p for n, p in net.named_parameters() if 'bias' not in n], weight_decay=0.1)",
]  # fmt: skip
_STATEMENTS = [
    "opt.zero_grad()", "net.train()", "net.eval()", "loss.backward()", "opt.step()", "scheduler.step()", "total += loss",
    "total += loss.item()", "loss = F.cross_entropy(net(x), y)", "loss = nn.CrossEntropyLoss()(F.softmax(net(x), 1), y)",
    "out = F.linear(F.normalize(net(x)), F.normalize(w))", "net.requires_grad_(False)", "net.head = nn.Linear(8, 2)",
    "for p in net.parameters(): p.requires_grad = False", "net.requires_grad = False", "x = x.cuda(); y = y.cuda()",
    "with torch.no_grad(): net(x)", "nn.init.zeros_(net.head.weight)", "net.apply(init)", "if step % 4 == 0: opt.step()",
    "net.load_state_dict(torch.load('a.pt'))", "frame = frame.append({'a': 1}, ignore_index=True)", "continue", "break",
    "rows = [row['a'] for _, row in frame.iterrows()]", "return", "yield loss", "loss.backward(); opt.step(); opt.zero_grad()",
    "net = nn.DataParallel(net)", "del net", "opt = None", "a = a + a", "x = [x, x]", "a = a ** 63", "print(f'{loss!r:>{a}}')",
    "frame['b'] = 0\nfor i, row in frame.iterrows():\n    frame.loc[i, 'b'] = row['a'] + 1",
    "match a:\n    case [x, *_]:\n        net.train()\n    case _:\n        net.eval()", "while a:\n    a -= 1\nelse:\n    opt.step()",
    "try:\n    loss.backward()\nexcept RuntimeError as error:\n    raise\nfinally:\n    opt.step()", "lambda *x, **y: (yield)",
    "class Inner(Net):\n    pass", "def inner(x=net):\n    nonlocal_ = x\n    return inner(x)", "global net\nnet = Net()",
]  # fmt: skip


def _indented(text: str, depth: int) -> str:
    return "\n".join("    " * depth + line if line else line for line in text.split("\n"))


@st.composite
def _nets(draw: st.DrawFn) -> str:
    layers = draw(st.lists(st.sampled_from(_LAYERS), min_size=1, max_size=5))
    kind = draw(st.sampled_from(["sequential", "class", "library"]))
    if kind == "sequential":
        return f"def Net():\n    net = nn.Sequential({', '.join(layers)})\n    return net\n"
    if kind == "library":
        return "def Net(name='resnet50'):\n    return timm.create_model(name, pretrained=True)\n"
    body = [f"self.l{number} = {layer}" for number, layer in enumerate(layers)] + ["self.head = nn.Linear(8, 2)"]
    calls = "\n".join(f"x = self.l{number}(x)" for number in range(len(layers)))
    return (
        "class Net(nn.Module):\n    def __init__(self, depth=2, **extra):\n        super().__init__()\n"
        + _indented("\n".join(body), 2)
        + "\n    def forward(self, x, *rest):\n"
        + _indented(f"{calls}\nreturn self.head(x)", 2)
        + "\n"
    )


@st.composite
def programs(draw: st.DrawFn) -> str:
    """A script: imports, a net, an optimizer, a loop over data; now and then in a function, or over and over."""
    head = (
        "import torch, torchvision, timm, pandas as pd\nimport torch.nn.functional as F\nfrom torch import nn\n"
        "from torch.utils.data import DataLoader\nframe = pd.read_csv('a.csv')\na = 3\ntotal = 0\n"
    )
    optimizer = draw(st.sampled_from(_OPTIMIZERS)).format(
        p=draw(st.sampled_from(["net.parameters()", "params", "list(net.parameters())"]))
    )
    before = draw(st.lists(st.sampled_from(_STATEMENTS), max_size=4))
    body = draw(st.lists(st.sampled_from(_STATEMENTS), min_size=1, max_size=10))
    loop = draw(
        st.sampled_from(
            [
                "for x, y in DataLoader(data, 32):",
                "for step, (x, y) in enumerate(loader):",
                "while True:",
                "with a as (x, y):",
            ]
        )
    )
    script = "\n".join(["net = Net()", f"opt = {optimizer}", *before, "for epoch in range(3):", "    " + loop])
    script += "\n" + _indented("\n".join(body), 2)
    if draw(st.booleans()):
        script = "def main(args=None):\n" + _indented(script, 1) + "\nif __name__ == '__main__':\n    main()"
    return head + draw(_nets()) + script + "\n"
