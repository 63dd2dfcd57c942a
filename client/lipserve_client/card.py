"""A result as a part of a Hugging Face model card: `model-index` metadata, and a section in Markdown.

Source of the metadata's form: https://huggingface.co/docs/hub/model-cards#evaluation-results.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from lipserve_client.contract.comparison import ComparisonView, stored_result
from lipserve_client.contract.domain import Document, norm_words
from lipserve_client.contract.result import ResultView
from lipserve_client.printable import printable

LONGEST = 200
"""Characters of a domain that are shown; of a longer one its SHA-256 is."""
SOURCE = "Lipserve"


@dataclass(frozen=True)
class Card:
    """A bracket to be told: `model` and `certificate` are SHA-256s, None where they are not known."""

    result: ResultView
    name: str
    task: str
    model: str | None = None
    certificate: str | None = None
    proved: float | None = None
    """The certificate's own bound, which rounding in its check may have raised above the result's."""

    @classmethod
    def of(cls, document: Document, name: str, task: str, certificate: bytes | None = None) -> Card:
        """From the JSON of a result or of a job. ValueError where it is no certified bracket of one model, or where the
        certificate is about something else.
        """
        result = stored_result(_result_in(document))
        if isinstance(result, ComparisonView):
            raise ValueError("that is the comparison of two models, not a bracket of one")
        if result.upper is None or result.upper.value is None or result.upper.guarantee != "certified":
            raise ValueError("the result has no certified upper bound")
        if result.offset is not None:
            raise ValueError("rounding counts as noise there: the bound is not the model's own constant")
        if certificate is None:
            return cls(result, name, task, document.get("model") if "result" in document else None)
        model, proved = _proved(json.loads(certificate), result)
        if "result" in document and document.get("model") != model:
            raise ValueError("the certificate is about another model than the job")
        return cls(result, name, task, model, hashlib.sha256(certificate).hexdigest(), proved)

    def metadata(self) -> str:
        """The front matter of a card, YAML."""
        lower, upper = self.result.ends
        config = f"{norm_words(self.result.norm)}, {self._domain()}"
        lines = ["model-index:", f"- name: {_quoted(self.name)}", "  results:"]
        lines += [f"  - task: {{type: {_quoted(self.task)}}}"]
        lines += [f"    dataset: {{type: {_quoted('domain')}, name: {_quoted(self._domain())}}}", "    metrics:"]
        for kind, name, value in (
            ("lipschitz_upper", "Certified upper bound of the Lipschitz constant", upper),
            ("lipschitz_lower", "Attained lower bound of the Lipschitz constant", lower),
        ):
            if value is not None:
                lines += [f"    - type: {kind}", f"      name: {_quoted(name)}", f"      value: {_number(value)}"]
                lines += [f"      config: {_quoted(config)}"]
        return "\n".join(["---", *lines, "---", ""])

    def section(self) -> str:
        """What a reader is told, Markdown."""
        rows = "\n".join(f"| {name} | {value} |" for name, value in self._rows())
        norm = norm_words(self.result.norm)
        upper = self.result.ends[1]
        text = (
            f"## Lipschitz bound\n\n| | |\n|---|---|\n{rows}\n\nFor any two inputs of the domain, the outputs differ "
        )
        text += f"by at most {upper!r} times what the inputs differ by ({norm}), in exact arithmetic with the stored "
        text += "weights.\n"
        if self.certificate is not None:
            text += f"\nThe certificate proves {self.proved!r}, in a check in which no solver has a part:\n\n"
            text += "```console\n$ lipserve verify MODEL certificate.json\n```\n"
        return text

    def _rows(self) -> list[tuple[str, str]]:
        result = self.result
        assert result.upper is not None
        rows = [("certified upper bound", f"{result.upper.value!r} ({_code(result.upper.method)})")]
        if result.lower is not None and result.lower.value is not None:
            rows.append(("attained lower bound", f"{result.lower.value!r} ({_code(result.lower.method)})"))
        rows += [("norm", _code(norm_words(result.norm))), ("domain", _code(self._domain()))]
        given = (("outputs", result.target), ("unit of an input", result.input_scale))
        for name, value in (
            *given,
            ("unit of an output", result.output_scale),
            ("in place of the outputs", _of(result)),
        ):
            if value is not None:
                rows.append((name, _code(_short(value))))
        rows += [(f"SHA-256 of the {name}", _code(value)) for name, value in self._digests() if value]
        return [*rows, ("computed by", _code(f"{SOURCE} {result.engine.version or ''}".strip()))]

    def _digests(self) -> tuple[tuple[str, str | None], ...]:
        graph = None if self.result.graph is None else self.result.graph.sha256
        return ("model", self.model), ("graph", graph), ("certificate", self.certificate)

    def _domain(self) -> str:
        return "all inputs" if self.result.domain.kind == "all" else _short(self.result.domain)


def _result_in(document: Document) -> Document:
    result = document.get("result", document)
    if not isinstance(result, dict):
        raise ValueError("the job has no result")
    return result


def _proved(certificate: Any, result: ResultView) -> tuple[str, float]:
    """The SHA-256 of the model that the certificate is about, and its bound; ValueError where it does not prove this
    result.
    """
    assert result.upper is not None
    try:
        reported, function = certificate["reported"], certificate["function"]
        model, bound = str(certificate["model"]["sha256"]), float(certificate["bound"])
        told = [reported["value"], reported["method"], *(function[name] for name in ("norm", "domain", "target"))]
    except (KeyError, TypeError) as error:
        raise ValueError("that is no certificate of Lipserve") from error
    plain = result.model_dump(mode="json")
    if isinstance(plain["domain"].get("center"), str):  # a data set's row, which a certificate gives in numbers
        plain["domain"]["center"] = told[3].get("center")
    if told != [result.upper.value, result.upper.method, plain["norm"], plain["domain"], plain["target"]]:
        raise ValueError("the certificate is about another bound than the result's")
    return model, bound


def _of(result: ResultView) -> str | None:
    return None if result.output is None else ", ".join(result.output.names)


def _short(value: Any) -> str:
    """As JSON, exactly; of what is long its SHA-256."""
    plain = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
    text = plain if isinstance(plain, str) else json.dumps(plain)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return text if len(text) <= LONGEST else f"{len(text)} characters of JSON with the SHA-256 {digest}"


def _code(text: object) -> str:
    """Text of others in a cell: nothing in it is Markdown."""
    return f"`{printable(text).replace('`', chr(39)).replace('|', '/')}`"


def _quoted(text: str) -> str:
    """A YAML string in double quotes, which is one of JSON."""
    return json.dumps(printable(text), ensure_ascii=False)


def _number(value: float) -> str:
    """A float of YAML 1.1, which needs a point: 1.0e-05."""
    text = repr(value)
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa}.0e{exponent}" if mark and "." not in mantissa else text
