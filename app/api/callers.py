"""Who calls: the key of a request, the tenant that it speaks for, and what it may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from ..contract.request import MAX_PRIORITY
from ..errors import Forbidden, Unauthorized
from ..services import Services
from ..store.keys import Scope
from .dependencies import InServices
from .session import session_key

BEARER = HTTPBearer(scheme_name="Bearer", description="`Authorization: Bearer lip_...`", auto_error=False)
HEADER = APIKeyHeader(name="X-API-Key", scheme_name="X-API-Key", description="`X-API-Key: lip_...`", auto_error=False)
CHALLENGE = 'Bearer realm="lipserve"'
READING = ("GET", "HEAD")


@dataclass(frozen=True)
class Caller:
    """The tenant that a request speaks for; `key_id` is None where no keys are configured.

    Without keys there is one owner, to whom no other's jobs can be unfair: every priority is allowed.
    """

    tenant: str
    scopes: frozenset[Scope]
    key_id: str | None
    max_priority: int = MAX_PRIORITY

    @property
    def is_admin(self) -> bool:
        """Whether the whole service may be seen."""
        return Scope.ADMIN in self.scopes

    def require(self, scope: Scope) -> None:
        """Raise Forbidden unless the key has the scope."""
        if scope not in self.scopes:
            challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'
            raise Forbidden(f"The key lacks the scope `{scope}`.", headers={"WWW-Authenticate": challenge})

    def require_priority(self, priority: int) -> None:
        """Raise Forbidden unless the key allows jobs of that priority."""
        if priority > self.max_priority:
            detail = f"The key allows priorities up to {self.max_priority}; the service's operator can grant more."
            raise Forbidden(detail, errors=[{"detail": detail, "pointer": "#/priority"}])


ANYBODY = Caller("", frozenset(Scope), None)


async def identified(
    request: Request,
    services: InServices,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
    header: Annotated[str | None, Security(HEADER)],
) -> Caller:
    """The caller, whatever it may do; Unauthorized without a key where keys are configured."""
    secret = bearer.credentials if bearer is not None else header or session_key(request)
    caller = await to_thread.run_sync(_caller, services, secret)
    request.state.tenant = caller.tenant
    return caller


def _caller(services: Services, secret: str | None) -> Caller:
    key = services.keys.holder(secret) if secret else None
    if key is not None:
        return Caller(key.tenant, key.scopes, key.id, key.max_priority)
    if not services.keys.are_configured():
        return ANYBODY
    if secret:
        raise Unauthorized(
            "The API key is unknown or revoked.",
            headers={"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'},
        )
    raise Unauthorized(
        "Send an API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`.", headers={"WWW-Authenticate": CHALLENGE}
    )


InIdentified = Annotated[Caller, Depends(identified)]


async def allowed(request: Request, caller: InIdentified) -> Caller:
    """The caller, who may read with GET and HEAD, and write with all else; Forbidden otherwise."""
    caller.require(Scope.READ if request.method in READING else Scope.WRITE)
    return caller


async def administering(caller: InIdentified) -> Caller:
    """The caller, who may see the whole service; Forbidden otherwise."""
    caller.require(Scope.ADMIN)
    return caller


def still_allowed(services: Services, caller: Caller) -> bool:
    """Whether the caller's key was not revoked since, or none has been made since for a caller without one."""
    if caller.key_id is None:
        return not services.keys.are_configured()
    return services.keys.is_live(caller.key_id)


async def require_allowed(services: Services, caller: Caller) -> None:
    """Raise Unauthorized after a wait during which the caller's key was revoked."""
    if not await to_thread.run_sync(still_allowed, services, caller):
        raise Unauthorized("The API key was revoked meanwhile.", headers={"WWW-Authenticate": CHALLENGE})


InCaller = Annotated[Caller, Depends(allowed)]
