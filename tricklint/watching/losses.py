"""Whether a loss was given what it expects, by the values that it got."""

from __future__ import annotations

from tricklint.watching.record import Fact

NEAR = 1e-3  # by how much rows of probabilities may miss 1


def wrong_input(fact: Fact) -> tuple[str, str] | tuple[()] | None:
    """(message, what was seen) of a wrong input, () of a right one, None where the values do not tell."""
    looks = [look for look in fact.data["looks"] if look]
    if not looks:
        return None
    name, kinds = fact.data["function"], set(fact.data["kinds"])
    if name == "cross_entropy":
        rows = all(look["classes"] > 1 and look["least"] >= 0 and look["off"] < NEAR for look in looks)
        if rows and not all(look["most"] == 1 and look["least"] == 0 for look in looks):
            return (
                "cross_entropy takes raw logits, and is given probabilities: a softmax of a softmax flattens the gradient",
                "the rows of its input were not negative and added up to 1",
            )
        logs = all(look["classes"] > 1 and look["off_exp"] is not None and look["off_exp"] < NEAR for look in looks)
        return None if logs else ()
    if name == "nll_loss":
        if any(look["classes"] < 2 for look in looks):
            return None
        if all(look["off_exp"] is not None and look["off_exp"] < NEAR for look in looks):
            return ()
        return (
            "nll_loss takes log-probabilities, and is given something else: put log_softmax before it, or use cross_entropy",
            f"the exponentials of its input's rows missed 1 by {max(look['off_exp'] or 0 for look in looks):.2g}",
        )
    if name == "binary_cross_entropy_with_logits":
        if kinds == {"SigmoidBackward0"}:
            return (
                "binary_cross_entropy_with_logits takes raw logits, and is given a sigmoid's output: it applies a second one",
                "its input came out of a sigmoid",
            )
        return () if any(look["least"] < 0 or look["most"] > 1 for look in looks) else None
    return None
