"""What is asked of the service, whoever asks: a request of the API, or a registry's hook."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..contract.domain import Document
from ..contract.request import DEFAULT_PRIORITY, AnalysisFields
from ..refusals import InvalidRequest
from ..settings import Settings


@dataclass(frozen=True)
class Submission:
    """What is asked for. `request` is canonical: the same question is the same JSON, defaults filled in.

    The same `idempotency_key` of the same tenant gives the same job; `queue_timeout_s` None takes the service's.
    """

    model: str
    request: Document
    timeout_s: float
    priority: int = DEFAULT_PRIORITY
    metadata: Document = field(default_factory=dict)
    use_cache: bool = True
    tenant: str = ""
    idempotency_key: str | None = None
    queue_timeout_s: float | None = None
    webhook_url: str | None = None

    @classmethod
    def of(
        cls,
        fields: AnalysisFields,
        settings: Settings,
        *,
        model: str,
        tenant: str,
        idempotency_key: str | None,
        use_cache: bool = True,
    ) -> Submission:
        """What a request asks for; InvalidRequest for a longer time limit than the service allows."""
        return cls(
            model,
            fields.canonical(),
            timeout_s=time_limit(fields, settings),
            priority=fields.priority,
            metadata=fields.metadata,
            use_cache=use_cache,
            tenant=tenant,
            idempotency_key=idempotency_key,
            queue_timeout_s=fields.queue_timeout_s,
            webhook_url=fields.webhook_url,
        )

    @property
    def dataset(self) -> str | None:
        """Digest of the data set that the request names."""
        dataset = self.request["dataset"]
        return dataset if isinstance(dataset, str) else None


def time_limit(fields: AnalysisFields, settings: Settings) -> float:
    """The time limit asked for; else the service's, or what leaves room for the budget."""
    if fields.timeout_s is None:
        roomy = max(settings.default_timeout_s, 2 * fields.budget_s + 60)
        return min(roomy, settings.max_timeout_s)
    if fields.timeout_s > settings.max_timeout_s:
        detail = f"the longest time limit here is {settings.max_timeout_s:g} s"
        raise InvalidRequest(f"#/timeout_s: {detail}", errors=[{"detail": detail, "pointer": "#/timeout_s"}])
    return fields.timeout_s
