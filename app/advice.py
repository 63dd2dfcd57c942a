"""What to do about a problem: the next step, in the words of HTTP requests or of the command line."""

from __future__ import annotations

import re

GENERAL = "Look at the service's log for the time of the failure; the request id or the job id leads to the lines."

ADVICE: dict[str, str] = {
    "unauthorized": "Sign in with an API key. Whoever runs the service makes one with `lipserve keys create`.",
    "forbidden": "Use a key with the scope that is named, or ask whoever runs the service for one.",
    "not-found": "Check the address, or go to the start page.",
    "unknown-job": "Check the address. The job may have been deleted, or belong to the owner of another key.",
    "unknown-model": "Upload the model again.",
    "unknown-series": "Upload a model with the query parameters `name` and `version`.",
    "version-taken": "Give the model a version of its own: what has a version does not change.",
    "unknown-dataset": "Upload the data set again.",
    "job-expired": "Ask the same question again: the service keeps results for a limited time only.",
    "invalid-request": "Correct the field that is named and submit again.",
    "invalid-model": "Export the model again, and check that it loads in onnxruntime or torch on your side.",
    "missing-data": "Send the files that are named with the model: several parts `file` in one form, or a .zip "
    "of the folder.",
    "surplus-data": "Send the model with the files that it names, and with no others.",
    "not-a-model": "Export the model as ONNX, TorchScript or torch.export; the detail says with which command.",
    "too-large": "Send a smaller file, or raise the service's limit.",
    "invalid-dataset": "Save the arrays `inputs` and, optionally, `labels` with numpy's `savez`, as plain numbers.",
    "invalid-inputs": 'Give every open input shape in the field `inputs`, e.g. {"x": [1, 784]}.',
    "unsupported-operator": "Replace the operator that is named, or leave the part of the network after it out. "
    "The page /v1/operators lists what has a rule.",
    "data-dependent-control-flow": "Export the model by tracing, for one path through its branches.",
    "discontinuous-operator": 'Ask with `"output": "auto"`: it analyses what comes before the jump, if anything does. '
    'Steps that round to a grid count as bounded noise with `"rounding": "noise"`.',
    "stateful-model": "Call `model.eval()` before the export (dropout is random in training). Of state in a script's "
    "buffers the detail names the shapes: given in `inputs`, one step is analysed as a function of both.",
    "not-globally-lipschitz": "Ask on a bounded domain: a box or a ball. Products and exponentials have one there.",
    "invalid-artifact": "Send ONNX: the program did not hand over a graph that the rules know.",
    "conversion-mismatch": "Please report the model: what was captured from it does not compute the same.",
    "incomparable-models": "Compare models of the same inputs and outputs; `inputs` gives the shapes that files leave "
    "open, for both.",
    "torchscript-refused": "Export the model as ONNX, or with torch.export: TorchScript is a program, "
    "which runs here in a sandbox only.",
    "method-skipped": "Choose other methods (`auto` takes those that fit), or read in the detail what each one lacks.",
    "bracket-violation": "Please report the model: this is a defect of Lipserve, so no number of this job is shown.",
    "analysis-failed": "Please report the model, with the lines of the service's log about this job.",
    "out-of-memory": "Ask for fewer or cheaper methods (`autolip` needs least), or for a smaller input shape.",
    "worker-crashed": "Submit the job once more. If the process dies again, please report the model.",
    "worker-protocol": "Submit the job once more. If it happens again, please report the model.",
    "worker-lost": "Submit the job once more when the workers are back.",
    "queue-deadline": "Submit again when there is less to do, or with a larger `queue_timeout_s` or `priority`.",
    "time-limit": "Raise `timeout_s`, lower `budget_s`, or ask for fewer methods.",
}
"""By the problem's slug."""


COMMAND: dict[str, str] = {
    "invalid-request": "Correct the option that is named.",
    "invalid-inputs": "Give the shape of every open input, e.g. --shape x=1,784.",
    "missing-data": "Put the files that are named beside the model, under these names.",
    "not-globally-lipschitz": 'Ask on a bounded domain: --request \'{"domain": {"kind": "box", "lower": 0, '
    '"upper": 1}}\'.',
    "discontinuous-operator": 'Ask for what comes before the jump: --request \'{"output": "auto"}\', or, where it '
    'rounds, count that as noise: --request \'{"rounding": "noise"}\'.',
    "torchscript-refused": "Export the model as ONNX, or, if you trust the file, give --trust.",
    "method-skipped": "Choose other methods, e.g. --methods auto, or read what each one lacks.",
    "out-of-memory": "Ask for cheaper methods (--methods autolip), or for a smaller input (--shape).",
    "time-limit": "Lower --budget, or ask for fewer --methods.",
    "unauthorized": "Give an API key in LIPSERVE_KEY.",
}
"""By slug, where the command line has words of its own."""

_PROPOSALS = (
    re.compile(r"""inputs=\{"(?P<name>[^"]+)": \[(?P<sizes>[^]]+)\]\}"""),
    re.compile(r"""inputs=\[\[(?P<sizes>[^]]+)\]\] for '(?P<name>[^']+)'"""),
)


def advice(kind: str) -> str:
    """What to do about a problem of that type, or slug, for who asked over HTTP."""
    return ADVICE.get(slug_of(kind), GENERAL)


def command_advice(kind: str, detail: str) -> str:
    """The same for who asked on the command line; a shape that the detail proposes is written as an option."""
    slug = slug_of(kind)
    proposal = next((match for pattern in _PROPOSALS if (match := pattern.search(detail))), None)
    if slug == "invalid-inputs" and proposal is not None:
        sizes = proposal["sizes"].replace(" ", "")
        return f"Give the shape: --shape {proposal['name']}={sizes} (letters stand for sizes that are yours to choose)."
    return COMMAND.get(slug) or ADVICE.get(slug, "")


def slug_of(kind: str) -> str:
    """The end of a problem's type."""
    return kind.rpartition(":")[2]
