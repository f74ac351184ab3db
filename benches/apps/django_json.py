"""A Django project with one JSON view, and two that show whether responses are closed."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_settings")

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

closed: list[int] = []


class Probe(HttpResponse):
    """A response that notes when it is closed."""

    def close(self) -> None:
        """Called by the server at the end (PEP 3333)."""
        closed.append(1)
        super().close()


def index(request: HttpRequest) -> JsonResponse:
    """Answer a small JSON object."""
    return JsonResponse({"message": "Hello, world!", "numbers": [1, 2, 3]})


def probe(request: HttpRequest) -> Probe:
    """Answer something that notes when it is closed."""
    return Probe("probe")


def how_many_closed(request: HttpRequest) -> HttpResponse:
    """Answer how many probes were closed, in decimal."""
    return HttpResponse(str(len(closed)))


urlpatterns = [path("", index), path("probe", probe), path("closed", how_many_closed)]
app = get_wsgi_application()
