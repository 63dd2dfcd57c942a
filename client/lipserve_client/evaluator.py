"""`mlflow.models.evaluate(model, data, evaluators="lipserve")`: brackets as metrics, gates, the report as an artifact.

MLflow finds the class by the entry point `mlflow.model_evaluator`; nothing here imports it before it asks.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lipserve_client.client import Client, Job
from lipserve_client.evaluation import KNOWN, Plan, metrics_of, verdict_of
from lipserve_client.registries.card import CARD, file_of, inputs_of, shapes_of

FOLDER = "lipserve"
"""Where a run's artifacts of ours lie."""
DIGEST = 64
logger = logging.getLogger(__name__)


class LipserveEvaluator:
    """What MLflow asks of an evaluator."""

    @classmethod
    def can_evaluate(cls, *, evaluator_config: Mapping[str, Any] | None = None, **_: Any) -> bool:
        """Whether a service is named, or something is asked of one: MLflow runs all evaluators where none is named."""
        config = evaluator_config or {}
        is_asked = bool(config.get("url") or os.environ.get("LIPSERVE_URL") or KNOWN & set(config))
        if config and not is_asked:
            logger.warning("The evaluator lipserve is left out: its configuration names no service and asks nothing.")
        return is_asked

    def evaluate(
        self,
        *,
        dataset: Any,
        run_id: str,
        evaluator_config: Mapping[str, Any] | None = None,
        model: Any = None,
        model_type: str | None = None,
        **_: Any,
    ) -> Any:
        """An EvaluationResult. MlflowException for a configuration that is none; Refused, Unexpected and httpx's errors
        where the service does not answer; ModelValidationFailedException where the gate does not pass, after metrics
        and artifacts are logged.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.models.evaluation.validation import ModelValidationFailedException

        try:
            plan = Plan.of(evaluator_config or {}, os.environ)
            with Client(plan.url, plan.key) as client:
                jobs = _asked(client, plan, model, dataset, model_type)
                verdict = verdict_of(jobs, plan)
                result = _logged(client, plan, jobs, verdict, run_id)
        except (ValueError, OSError) as error:
            raise MlflowException.invalid_parameter_value(f"lipserve: {error}") from error
        if verdict not in (None, "pass") and plan.own["raises"] is not False:
            pages = " ".join(f"{plan.url.rstrip('/')}/v1/jobs/{job.id}/report" for job in jobs)
            raise ModelValidationFailedException(f"The gate of lipserve does not pass: {verdict}. {pages}")
        return result


def _asked(client: Client, plan: Plan, model: Any, dataset: Any, model_type: str | None) -> list[Job]:
    """The jobs when they are over: the analysis, and the comparison where a limit is about two models."""
    with TemporaryDirectory() as folder:
        own = plan.own["model"] or _uri_of(model)
        file, card = _downloaded(own, Path(folder, "model"))
        digest = client.upload(file, plan.own["name"], plan.own["version"])
        inputs = plan.fields.get("inputs") or _inputs(client, digest, card)
        baseline = plan.baseline and _baseline(client, plan.baseline, Path(folder, "baseline"))
        rows, is_labelled = _rows(dataset, card, is_needed=plan.needs_rows)
        given: dict[str, Any] = {"inputs": inputs} if inputs else {}
        if rows is not None:
            points = Path(folder, "rows.npz")
            points.write_bytes(rows)
            given["dataset"] = client.upload_dataset(points)
    is_classifier = model_type == "classifier" and is_labelled
    jobs = [client.ended(client.submit(digest, plan.analysis(baseline, is_classifier=is_classifier) | given))]
    if plan.of_two and baseline:
        jobs.append(client.ended(client.submit_comparison(digest, baseline, plan.comparison() | given)))
    return jobs


def _uri_of(model: Any) -> str:
    """Where the model that MLflow evaluates was logged."""
    model_id = getattr(model, "model_id", None)
    card = getattr(model, "metadata", None)
    if model_id:
        return f"models:/{model_id}"
    if card is not None and card.run_id and card.artifact_path:
        return f"runs:/{card.run_id}/{card.artifact_path}"
    raise ValueError("the model was not logged, so its files are not known: name a URI or a folder as `model`")


def _downloaded(uri: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The model's file, with what lies beside it, and its card; a path to a file or folder is taken as it is."""
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    place = Path(uri)
    if not place.exists():
        folder.mkdir()
        place = Path(download_artifacts(artifact_uri=uri, dst_path=str(folder)))
    if place.is_file():
        return place, {}
    if not (place / CARD).is_file():
        raise ValueError(f"{uri} holds no {CARD}: it is no model of MLflow")
    card = Model.load(str(place)).to_dict()
    path = file_of(card, lambda name: (place / name).is_file())
    if path is None:
        raise ValueError("the model has neither an ONNX nor a PyTorch flavour with a file")
    file = (place / path).resolve()
    if not file.is_relative_to(place.resolve()):
        raise ValueError(f"the model's file lies outside of its folder: {path}")
    return file, card


def _inputs(client: Client, digest: str, card: Mapping[str, Any]) -> dict[str, list[int]] | None:
    """The sizes that the file leaves open, by the model's signature."""
    shapes = shapes_of(card.get("signature"))
    declared = [tensor.model_dump() for tensor in client.model(digest).inputs]
    return inputs_of(declared, shapes) if shapes else None


def _baseline(client: Client, baseline: str, folder: Path) -> str:
    """The uploaded baseline's id."""
    if len(baseline) == DIGEST and set(baseline) <= set("0123456789abcdef"):
        return baseline
    return client.upload(_downloaded(baseline, folder)[0])


def _rows(dataset: Any, card: Mapping[str, Any], *, is_needed: bool) -> tuple[bytes | None, bool]:
    """The data as an npz file, and whether it has classes; None where it is not of numbers and need not be."""
    import numpy as np

    features, labels = dataset.features_data, dataset.labels_data if dataset.has_targets else None
    names = [shape.name for shape in shapes_of(card.get("signature"))]
    if names and set(names) <= set(getattr(features, "columns", ())):
        features = features[names]
    try:
        arrays = {"inputs": np.asarray(features, dtype=np.float64)}
    except (TypeError, ValueError) as error:
        if is_needed:
            raise ValueError("the data's features are not numbers") from error
        return None, False
    classes = None if labels is None else np.asarray(labels)
    if classes is not None and classes.dtype.kind in "iufb" and bool((classes == np.trunc(classes)).all()):
        arrays["labels"] = classes.astype(np.int64)
    elif classes is not None and is_needed:
        raise ValueError("the data's targets are no classes: whole numbers from 0 in the order of the outputs")
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue(), "labels" in arrays


def _logged(client: Client, plan: Plan, jobs: list[Job], verdict: str | None, run_id: str) -> Any:
    """The EvaluationResult, whose metrics and artifacts the run has now."""
    import mlflow
    from mlflow.models import EvaluationResult
    from mlflow.models.evaluation.artifacts import JsonEvaluationArtifact

    run, artifacts = mlflow.MlflowClient(), {}
    metrics: dict[str, float] = {} if verdict is None else {"lipschitz_gate_passed": float(verdict == "pass")}
    base = run.get_run(run_id).info.artifact_uri
    for job, name in zip(jobs, ("analysis", "comparison"), strict=False):
        assert job.result is not None
        metrics |= metrics_of(job.result, plan.radius)
        content = job.model_dump(mode="json", exclude_unset=True)
        run.log_dict(run_id, content, f"{FOLDER}/{name}.json")
        run.log_text(run_id, client.report(job.id), f"{FOLDER}/{name}.html")
        run.set_tag(run_id, f"lipserve.{name}", job.id)
        uri = f"{base}/{FOLDER}/{name}.json"
        artifacts[f"{FOLDER}_{name}"] = JsonEvaluationArtifact(uri=uri, content=content)
    for metric, value in metrics.items():
        run.log_metric(run_id, metric, value)
    return EvaluationResult(metrics=metrics, artifacts=artifacts, run_id=run_id)
