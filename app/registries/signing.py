"""Signatures of messages: ours by Standard Webhooks, and those that registries put on theirs."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

from ..errors import BadSignature, StaleDelivery

PREFIX = "whsec_"
VERSION = "v1"


def tenant_secret(service_secret: str, tenant: str) -> str:
    """The `whsec_` secret of a tenant: none can be told from another's."""
    key = hmac.digest(service_secret.encode(), f"webhooks of {tenant}".encode(), "sha256")
    return PREFIX + base64.b64encode(key).decode()


def signed(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a message; `timestamp` in seconds since the epoch."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(key, message_id, str(timestamp), body),
    }


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """`v1,<base64 of HMAC-SHA256 of id.timestamp.body>`: the same in Standard Webhooks and in MLflow."""
    content = f"{message_id}.{timestamp}.".encode() + body
    return f"{VERSION},{base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()}"


def check_mlflow(secret: str, headers: Mapping[str, str], body: bytes, now: float, tolerance_s: float) -> str:
    """The delivery id of a message that MLflow signed; BadSignature or StaleDelivery."""
    sent = [headers.get(f"x-mlflow-{name}", "") for name in ("signature", "timestamp", "delivery-id")]
    given, timestamp, delivery = sent
    if not all(sent):
        raise BadSignature("The headers X-MLflow-Signature, X-MLflow-Timestamp and X-MLflow-Delivery-Id are needed.")
    expected = signature(secret.encode(), delivery, timestamp, body)
    if not any(same(expected, candidate) for candidate in given.split(" ")):
        raise BadSignature("The signature does not fit the message.")
    check_age(timestamp, now, tolerance_s)
    return delivery


def check_age(timestamp: str, now: float, tolerance_s: float) -> None:
    """Raise StaleDelivery unless the time, seconds since the epoch, is within the tolerance of `now`."""
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= len(str(2**63))):
        raise BadSignature("The timestamp is not a number of seconds.")
    if abs(now - int(timestamp)) > tolerance_s:
        raise StaleDelivery(f"The message is more than {tolerance_s:g} s old, or from the future.")


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())
