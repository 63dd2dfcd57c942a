"""A typed client of Lipserve; `client` and the types below it are built from the service's own sources."""

from lipserve_client.client import Client, Job, Refused, Unexpected
from lipserve_client.contract.comparison import ComparisonView
from lipserve_client.contract.result import ResultView

__all__ = ["Client", "ComparisonView", "Job", "Refused", "ResultView", "Unexpected"]
