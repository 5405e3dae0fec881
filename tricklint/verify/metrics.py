"""What the name of a metric says: whether higher is better, and on which data it was measured."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

HIGHER = frozenset(
    "acc accuracy accuracies top1 top5 auc auroc rocauc prauc ap map auprc f1 fscore precision prec recall iou miou dice "
    "dsc jaccard bleu rouge meteor cider chrf bertscore r2 psnr ssim snr sdr pesq stoi kappa mcc hits hit ndcg mrr "
    "sensitivity specificity tpr tnr score spearman pearson correlation corr ccc reward return likelihood pck mota hota "
    "idf1 success".split()
)
LOWER = frozenset(
    "loss error err mse rmse mae mape smape mase msle rmsle nrmse crps ppl perplexity bpc bpd wer cer eer nll fid kid "
    "lpips bce logloss xent ece brier hausdorff hd95 assd fpr fnr mpjpe ade fde epe".split()
)
PHRASES = {  # of two words, where the last alone does not tell
    "error rate": False,
    "cross entropy": False,
    "hit rate": True,
    "hit ratio": True,
    "success rate": True,
    "win rate": True,
    "recognition rate": True,
    "exact match": True,
    "explained variance": True,
    "r squared": True,
    "top 1": True,
    "top 5": True,
    "positive rate": None,
}
HELD_OUT = frozenset("val valid validation eval evaluation test testing dev holdout heldout".split())
TRAINING = frozenset("train training tr".split())
# What may follow a metric's own word without changing what it is: acc_macro, loss_epoch, f1_score, acc_val.
_AFTER = (
    HELD_OUT
    | TRAINING
    | frozenset(
        "at mean avg average macro micro weighted samples epoch step total value best final last overall all global "
        "class classes ema max min percent pct set score scores".split()
    )
)
OF = frozenset("of on for over in after with per from to by".split())  # "accuracy of the network on …"
NOT_METRICS = frozenset("epoch epochs step steps iter iteration lr time eta batch seed elapsed it gpu mem".split())
_KNOWN = HIGHER | LOWER | _AFTER


@functools.lru_cache(maxsize=4096)
def words_of(name: str) -> tuple[str, ...]:
    """val_acc, valAcc, valacc and "Val Acc@1" → val, acc (and at, 1); mIoU → miou."""
    found: list[str] = []
    for token in re.split(r"[^A-Za-z0-9]+", name.replace("@", " at ")):
        found += _parts(token)
    return tuple(found)


def _parts(token: str) -> list[str]:
    """The words that one token is written of: in camel case, or two known words without anything between."""
    low = token.lower()
    if not token or low in _KNOWN:
        return [low] if token else []
    humps = re.match(r"([A-Z]?[a-z]+\d*)([A-Z].*)", token)
    if humps:
        return [humps.group(1).lower(), *_parts(humps.group(2))]
    for cut in range(2, len(low) - 1):
        both = low[:cut], low[cut:]
        if all(word in _KNOWN and (len(word) > 2 or word in ("f1", "r2")) for word in both):
            return list(both)
    return [low]


def head(name: str) -> str:
    """The word that says what is measured: val_loss → loss, "accuracy of the network" → accuracy, loss_weight →
    weight. Where two words say it together, both."""
    words = list(words_of(name))
    place = next((i for i, word in enumerate(words) if word in OF and i), len(words))
    core = words[:place]
    while core and (core[-1] in _AFTER or core[-1].isdigit()) and " ".join(core[-2:]) not in PHRASES:
        core.pop()
    pair = " ".join(core[-2:])
    if pair in PHRASES:
        return pair
    if (not core or _direction(core[-1]) is None) and "score" in words[len(core) : place]:
        return "score"  # val_score, "best score"
    return core[-1] if core else ""


def _direction(word: str) -> bool | None:
    for form in (word, word.rstrip("0123456789")):
        if form in LOWER:
            return False
        if form in HIGHER:
            return True
    return None


def direction(name: str) -> bool | None:
    """True when higher is better, False when lower is, None when the name does not tell."""
    word = head(name)
    return PHRASES[word] if word in PHRASES else _direction(word)


def role(name: str) -> int:
    """How much a metric says: 0 validation or test, 1 unnamed, 2 training."""
    words = words_of(name)
    if any(w in HELD_OUT for w in words):
        return 0
    return 2 if any(w in TRAINING for w in words) else 1


def by_pattern(text: str, pattern: str) -> list[tuple[int, float]]:
    """The numbers that the first group of `pattern` catches, with the places where they end. Raises ValueError for a
    pattern that cannot be used."""
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"--metric {pattern!r} is no regular expression: {error}") from None
    if regex.groups < 1:
        raise ValueError(f"--metric {pattern!r} needs a group round the number, like 'val_acc: ([\\d.]+)'")
    values = []
    for match in regex.finditer(text):
        try:
            values.append((match.end(), float(match.group(1))))
        except (TypeError, ValueError):
            raise ValueError(f"--metric {pattern!r} caught {match.group(1)!r}, which is no number") from None
    return values


def is_pattern(metric: str) -> bool:
    """Whether --metric was given a regular expression (which has a group) or the name of a metric."""
    return "(" in metric


def name_of_pattern(pattern: str) -> str:
    """A short name for a pattern: 'val_acc: ([\\d.]+)' → val_acc."""
    start = re.split(r"[\\(\[:=]", pattern, maxsplit=1)[0].strip()
    return start or pattern


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
