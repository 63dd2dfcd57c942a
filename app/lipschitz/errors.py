"""Everything that the numerical library can refuse to do, each with the stable slug of its problem type.

The library knows nothing of HTTP: `slug` is the last part of the `type` URI that the service answers, and
`detail` says what is wrong, where in the model, and what to do next.
"""

import re

DEVICE_FAULTS = re.compile(r"cuda ?error|(cublas|cudnn|cufft|cusolver)(_status| error)|\b(nvrm|xid)\b", re.IGNORECASE)


def is_device_fault(words: str) -> bool:
    """Whether an error's words say that CUDA failed: then the process computes nothing more, whoever was at fault."""
    return DEVICE_FAULTS.search(words) is not None


class LipschitzError(Exception):
    """Root of the library's refusals: `slug` names the kind, `detail` is one sentence for the user."""

    slug = "analysis-failed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidModel(LipschitzError):
    """The bytes are not a model that can be run: truncated, inconsistent, NaN weights."""

    slug = "invalid-model"


class NotAModel(LipschitzError):
    """The bytes are another kind of file; the detail says which, and the command that exports a model from it."""

    slug = "not-a-model"


class MissingData(LipschitzError):
    """The model's weights lie in files that were not sent with it; the detail names them."""

    slug = "missing-data"


class SurplusData(LipschitzError):
    """Files were sent with a model that does not name them; the detail does."""

    slug = "surplus-data"


class TooLarge(LipschitzError):
    """An archive unpacks to more than is accepted."""

    slug = "too-large"


class InvalidInputs(LipschitzError):
    """Input shapes are missing where the file leaves them open, or do not fit the model."""

    slug = "invalid-inputs"


class InvalidRequest(LipschitzError):
    """An unknown method, option, norm, domain or target, or values that do not fit this model."""

    slug = "invalid-request"


class UnsupportedOperator(LipschitzError):
    """The graph holds an operator without a rule; the detail names the operator and its node."""

    slug = "unsupported-operator"


class DataDependentControlFlow(UnsupportedOperator):
    """A branch, loop or shape depends on tensor values, so one trace does not represent the model."""

    slug = "data-dependent-control-flow"


class StatefulModel(UnsupportedOperator):
    """Two calls with one input differ: hidden state lives in the model, it is not a function."""

    slug = "stateful-model"


class NotGloballyLipschitz(LipschitzError):
    """No finite constant was found on the domain; the detail names the node and suggests another."""

    slug = "not-globally-lipschitz"


class Discontinuous(LipschitzError):
    """The model jumps (sign, floor, argmax, a comparison): no finite constant where it does."""

    slug = "discontinuous-operator"


class InvalidArtifact(LipschitzError):
    """The bytes are not a captured graph that this version wrote: damaged, forged, or of another version."""

    slug = "invalid-artifact"


class ConversionMismatch(LipschitzError):
    """The captured graph does not reproduce the original model, so any bound would be another function's."""

    slug = "conversion-mismatch"


class IncomparableModels(LipschitzError):
    """Two models whose inputs or outputs differ in number or shape; the detail tells both."""

    slug = "incomparable-models"


class BracketViolation(LipschitzError):
    """A lower bound exceeds an upper bound: a defect of ours, reported loudly and never as a result."""

    slug = "bracket-violation"


class MethodSkipped(LipschitzError):
    """A method cannot serve this model or request; the report carries the reason."""

    slug = "method-skipped"
