"""Programs that grow out of all measure while they are followed: each ends soon, in little memory, with its findings."""

from __future__ import annotations

import pytest

from tests.fuzz.oracle import judge
from tests.hostile.conftest import BAD

SECONDS, MEGABYTES = 5, 200  # of a busy machine; alone each takes less than one second
GROWTH = {
    "power": ("a = 9", "a = a ** 63"),
    "product": ("a = 3", "a = a * a"),
    "shift": ("a = 3", "a = a << a"),
    "factorial": ("a = 10 ** 60", "a *= a + 1"),
    "text": ("a = 'ab'", "a = a + a"),
    "text in text": ("a = 'ab'", "a = f'{a}{a}'"),
    "text times": ("a = 'ab'", "a = a * 999999999"),
    "width": ("a = 3", "a = '%999999999d' % a; a = '{:>999999999}'.format(3)"),
    "replaced": ("a = 'aaaaaaaaaaaaaaaa'", "a = a.replace('a', a)"),
    "joined": ("a = 'aaaaaaaaaaaaaaaa'", "a = a.join([a, a, a, a, a, a])"),
    "list": ("a = [net, net]", "a = a + a"),
    "list in place": ("a = [net, net]", "a += a"),
    "extended": ("a = [net.parameters(), net]", "a.extend(a)"),
    "nested list": ("a = [net]", "a = [a, a]"),
    "nested tuple": ("a = (net, 1)", "a = (a, a, a)"),
    "nested dict": ("a = {'x': net}", "a = {'x': a, 'y': a}"),
    "dict in dict": ("a = {'x': net}", "a = {**a, len(a): dict(a), 'b': a}"),
    "appended to itself": ("a = [net]", "a.append(a); a.append((a, [a]))"),
    "set in itself": ("a = {'x': []}", "a['x'].append(a); a['y'] = a; a.update(b=a)"),
    "either": ("a = [net]", "a = [a, a] if x else (a, a)"),
    "arguments": ("def f(*a, **b): return a + a\na = (net, net)", "a = f(*a)"),
    "keywords": ("def f(**b): return {'u': b, 'v': b}\na = {'k': net}", "a = f(**a)"),
    "sliced": ("a = [net, net]", "a[len(a):] = a; a = a[:] + a[::-1]"),
    "comprehended": ("a = [net, net]", "a = [b for b in a for c in a]"),
    "zipped": ("a = [net, net]", "a = list(zip(a, a))"),
    "starred": ("a = [net, net]", "a = [*a, *a, a]"),
    "module list": ("a = [nn.Linear(2, 2)]", "a = a + a; b = nn.ModuleList(a)"),
    "in modules": ("a = nn.Sequential(net)", "a = nn.Sequential(a, a)"),
    "in optimizers": ("a = [{'params': net.parameters()}]", "a = a + [{'params': a}]; o = optim.SGD(a, lr=0.1)"),
    "attributes": ("class A: pass\na = A()", "a.x = a; b = A(); b.x = [a, a]; a.y = [b, b]; a = b"),
}


@pytest.mark.parametrize("name", GROWTH)
def test_growth_ends(name: str) -> None:
    start, step = GROWTH[name]
    plain = judge({"train.py": BAD.encode()}, fix=False)
    outcome = judge({"train.py": f"{BAD}{start}\n{(step + chr(10)) * 40}optim.AdamW(a)\n".encode()}, fix=False)
    assert outcome.broken == ""
    assert outcome.seconds < SECONDS and outcome.megabytes < MEGABYTES, outcome
    assert all(outcome.codes.get(code, 0) >= plain.codes[code] == 1 for code in ("TRK601", "TRK701"))


@pytest.mark.parametrize("deep", [490, 900])
@pytest.mark.parametrize(
    "piece",
    [
        "elif",
        "terms",
        "else",
        "parentheses",
        "attributes",
        "calls",
        "comparisons",
        "ands",
        "ternaries",
        "statements",
        "lambdas",
        "texts",
    ],
)
def test_long_and_deep_programs_keep_their_findings(piece: str, deep: int) -> None:
    text = {
        "elif": "if a == 0:\n    b = 0\n" + "".join(f"elif a == {n}:\n    b = {n}\n" for n in range(1, deep)),
        "terms": "b = " + " + ".join(["a"] * deep) + "\n",
        "else": "".join("    " * n + "if a:\n" for n in range(min(deep, 90))) + "    " * min(deep, 90) + "b = 1\n",
        "parentheses": "b = " + "(" * min(deep, 90) + "a" + ")" * min(deep, 90) + "\n",
        "attributes": "b = a" + ".b" * deep + "\n",
        "calls": "b = a" + "()" * deep + "\n",
        "comparisons": "b = " + " < ".join(["a"] * deep) + "\n",
        "ands": "b = " + " and ".join(["a"] * deep) + "\n",
        "ternaries": "b = " + "1 if a else " * min(deep, 400) + "2\n",
        "statements": "b = 1\n" * deep * 4,
        "lambdas": "b = " + "lambda: " * min(deep, 90) + "a\n",
        "texts": "b = (" + "'a' " * deep + ")\n",
    }[piece]
    outcome = judge({"train.py": f"{BAD}a = object()\n{text}".encode()}, fix=False)
    assert outcome.broken == ""
    assert outcome.codes.get("TRK601") == 1 and outcome.codes.get("TRK701") == 1, outcome
    assert outcome.seconds < SECONDS and outcome.megabytes < MEGABYTES, outcome
