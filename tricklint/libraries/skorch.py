"""skorch: a net of scikit-learn's kind, made of a module's class and a criterion's."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import UNKNOWN, Class, Instance, Ref, Value, first, instances
from tricklint.libraries.events import TrainerGiven, TrainsOver
from tricklint.libraries.learners import measure


@function("skorch.NeuralNet", "skorch.NeuralNetClassifier", "skorch.NeuralNetBinaryClassifier", "skorch.NeuralNetRegressor",
          "skorch.classifier.NeuralNetClassifier", "skorch.regressor.NeuralNetRegressor")  # fmt: skip
def net(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "skorch"
    return made


def _made(m: Machine, given: Value | None, prefix: str, net: Instance, node: cst.CSTNode) -> Value | None:
    """The module or criterion: an object as it is, a class with the arguments that bear its prefix."""
    at = first(given)
    if not isinstance(at, (Class, Ref)):
        return given
    below = {key[len(prefix) :]: value for key, value in net.kwargs.items() if key.startswith(prefix)}
    return m.call(at, CallArgs([], below), node)


@behaves("skorch")
class Net(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name not in ("fit", "partial_fit"):
            return UNKNOWN
        where = value.node or node
        model = _made(m, value.args[0] if value.args else value.kwargs.get("module"), "module__", value, where)
        for each in instances(model, "module"):
            m.emit(TrainerGiven(m.now(node), each, "skorch", value))
        criterion = value.kwargs.get("criterion", value.args[1] if len(value.args) > 1 else None)
        loss = _made(m, criterion, "criterion__", value, where)
        # the classifier takes the logarithm of probabilities itself where the criterion is NLLLoss
        if not any(each.library == "torch.nn.NLLLoss" for each in instances(loss)):
            measure(m, model, loss, UNKNOWN, node)
        if "batch_size" in value.kwargs:
            m.emit(TrainsOver(m.now(node), value, "skorch", value))
        return value
