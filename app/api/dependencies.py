"""What endpoints ask for in their signatures."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from ..errors import Draining
from ..services import Services

RETRY_AFTER_S = "5"


def services_of(request: Request) -> Services:
    """The services that the application was started with."""
    services: Services = request.app.state.services
    return services


InServices = Annotated[Services, Depends(services_of)]


def check_is_taking_work(services: InServices) -> None:
    """Raise Draining when the service is stopping."""
    if services.drain.is_on:
        raise Draining("The service is stopping; send the request again.", headers={"Retry-After": RETRY_AFTER_S})


TakingWork = Depends(check_is_taking_work)
"""For routes that create something."""
