"""Read the metrics that a training script prints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

HIGHER = tuple(
    "acc accuracy top1 top5 auc auroc ap map auprc f1 precision recall iou miou dice bleu rouge r2 psnr ssim score "
    "kappa mcc hits ndcg mrr sensitivity specificity".split()
)
LOWER = tuple("loss error err mse rmse mae mape ppl perplexity wer cer nll fid bce logloss".split())
NOT_METRICS = frozenset("epoch epochs step steps iter iteration lr time eta batch seed elapsed it gpu mem".split())
_NUMBER = r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?|nan|inf"
_VALUE = rf"({_NUMBER})(?:/(\d+))?(?![\w.])\s*(%?)"  # 0.93, 93 % or 9895/10000
_NAME = r"[A-Za-z][A-Za-z0-9_@./-]*(?:[ -][A-Za-z][A-Za-z0-9_@]*)"
_PAIR = re.compile(rf"""["']?({_NAME}{{0,3}})["']?\s*(?::|=|\||│|→|is)\s*["']?{_VALUE}""", re.IGNORECASE)
_BARE = re.compile(rf"""\b({_NAME}?)\s+{_VALUE}""", re.IGNORECASE)
_BEFORE = re.compile(r"^\s*(?:\[[^\]]*\]|epoch\s*\[?\d+(?:\s*/\s*\d+)?\]?|\d+/\d+)[\s:,|-]*", re.IGNORECASE)


def words_of(name: str) -> list[str]:
    """val_acc, valAcc and "Val Acc@1" → ["val", "acc"]."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.replace("@", " at "))
    return [word for word in re.split(r"[^A-Za-z0-9]+", spaced.lower()) if word]


def direction(name: str) -> bool | None:
    """True when higher is better, False when lower is, None when the name does not tell."""
    words = words_of(name)
    for word in reversed(words):
        bare = word.rstrip("0123456789")
        if word in LOWER or bare in LOWER:
            return False
        if word in HIGHER or bare in HIGHER:
            return True
    return None


def role(name: str) -> int:
    """How much a metric says: 0 validation or test, 1 unnamed, 2 training."""
    words = words_of(name)
    if any(w in ("val", "valid", "validation", "eval", "test", "dev", "holdout") for w in words):
        return 0
    return 2 if any(w in ("train", "training") for w in words) else 1


def found_in(text: str) -> dict[str, list[float]]:
    """Every `name: number` that a text holds, in the order printed. A per cent sign divides by 100, and 9895/10000 is
    0.9895."""
    found: dict[str, list[float]] = {}
    for line in re.split(r"[\r\n]+", text):
        line = _BEFORE.sub("", line)
        # "loss 0.52 acc 0.93": without a sign between, only names that are known metrics count.
        rest = _PAIR.sub(" | ", line)
        bare = [m for m in _BARE.findall(rest) if direction(m[0]) is not None]
        for name, number, of, percent in (*_PAIR.findall(line), *bare):
            words = words_of(name)
            # "classifier epoch 2 val_acc: 0.4": what stands before the last counting word belongs to it.
            clean = re.sub(r"^.*\bepoch\b\s*\d*\s*", "", name, flags=re.IGNORECASE) or name
            if not words or words[-1] in NOT_METRICS or clean.lower() in NOT_METRICS:
                continue
            found.setdefault(clean, []).append(float(number) / (float(of or 0) or (100 if percent else 1)))
    return found


def by_pattern(text: str, pattern: str) -> list[float]:
    """The numbers that the first group of `pattern` catches. Raises ValueError for a pattern that cannot be used."""
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"--metric {pattern!r} is no regular expression: {error}") from None
    if regex.groups < 1:
        raise ValueError(f"--metric {pattern!r} needs a group round the number, like 'val_acc: ([\\d.]+)'")
    values = []
    for match in regex.finditer(text):
        try:
            values.append(float(match.group(1)))
        except (TypeError, ValueError):
            raise ValueError(f"--metric {pattern!r} caught {match.group(1)!r}, which is no number") from None
    return values


def name_of_pattern(pattern: str) -> str:
    """A short name for a pattern: 'val_acc: ([\\d.]+)' → val_acc."""
    head = re.split(r"[\\(\[:=]", pattern, maxsplit=1)[0].strip()
    return head or pattern


def judged(series: Mapping[str, Iterable[float]]) -> list[str]:
    """The metrics that verdicts are given on: of the best role, scores where there are any, else losses."""
    known = [name for name in series if direction(name) is not None]
    if not known:
        return []
    best = min(role(name) for name in known)
    top = [name for name in known if role(name) == best]
    return [name for name in top if direction(name)] or top


def default_margin(name: str, baseline: float) -> float:
    """The stated margin of equivalence: half a point for a score in 0…1, half a point for per cent, 2 % of a loss."""
    if direction(name):
        return 0.005 if abs(baseline) <= 1.0 else 0.5 if abs(baseline) <= 100 else 0.02 * abs(baseline)
    return max(0.02 * abs(baseline), 1e-12)
