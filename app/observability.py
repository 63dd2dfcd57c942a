"""What operators see of a running process: log lines as text or JSON, and OpenTelemetry traces where they are wanted.

Headers, query strings and bodies are never logged, so that no secret is.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from . import __version__
from .printable import printable
from .settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

logger = logging.getLogger(__name__)

INDENT = "    "
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
JSON = "%(levelname)s %(name)s %(message)s"
JSON_NAMES = {"levelname": "level", "name": "logger"}
UNTRACED = "livez,readyz,v2/health,metrics"

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being answered."""


def configure_logging(settings: Settings) -> None:
    """Send every log line to standard error, in the format of the settings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_add_request_id)
    handler.setFormatter(_formatter(settings.log_format))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.WARNING)


def log_uncaught() -> None:
    """Send errors that nothing caught to the log, as Python would write them to the terminal as they are."""
    sys.excepthook, threading.excepthook = _on_uncaught, _on_uncaught_in_thread


def _formatter(log_format: str) -> logging.Formatter:
    is_text = sys.stderr.isatty() if log_format == "auto" else log_format == "text"
    if is_text:
        return TextLines(TEXT)
    return JsonLines(
        JSON,
        rename_fields=JSON_NAMES,
        timestamp="time",
        exc_info_as_array=True,
        reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn's message again, for terminals
    )


class TextLines(logging.Formatter):
    """One line a record, whatever is in it; exceptions below, indented, so that they do not look like records."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(INDENT + printable(line) for line in super().formatException(ei).splitlines())


class JsonLines(JsonFormatter):
    """One JSON object a record; its texts stay harmless when a reader decodes them."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """The members, their texts made printable."""
        return {name: _printable(value) for name, value in super().process_log_record(log_data).items()}


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list | tuple):
        return [_printable(one) for one in value]
    if isinstance(value, dict):
        return {printable(name): _printable(one) for name, one in value.items()}
    return value


def _on_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logger.critical("an error that nothing caught", exc_info=(kind, error, trace))


def _on_uncaught_in_thread(uncaught: threading.ExceptHookArgs) -> None:
    if uncaught.exc_value is not None and uncaught.exc_type is not SystemExit:
        _on_uncaught(uncaught.exc_type, uncaught.exc_value, uncaught.exc_traceback)


def _add_request_id(record: logging.LogRecord) -> bool:
    """Tell the line which request it is about."""
    if (current := request_id.get()) is not None:
        record.request_id = current
    return True


def trace(service: FastAPI, exporter: SpanExporter | None = None) -> None:
    """Trace every request; spans go to `exporter`, or by OTLP to where the variables `OTEL_EXPORTER_OTLP_*` say."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "lipserve", "service.version": __version__})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    FastAPIInstrumentor.instrument_app(
        service, tracer_provider=provider, excluded_urls=UNTRACED, exclude_spans=["receive", "send"]
    )
    service.state.traces = provider


def flush(service: FastAPI) -> None:
    """Send the spans that wait, when the service stops."""
    if (provider := getattr(service.state, "traces", None)) is not None:
        provider.shutdown()


@contextmanager
def span(request: Request, name: str) -> Iterator[dict[str, Any]]:
    """A span around the block, which may fill in its attributes; nothing where requests are not traced."""
    attributes: dict[str, Any] = {}
    provider = getattr(request.app.state, "traces", None)
    if provider is None:
        yield attributes
        return
    with provider.get_tracer("lipserve").start_as_current_span(name) as current:
        yield attributes
        current.set_attributes(attributes)
