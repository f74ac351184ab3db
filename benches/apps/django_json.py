"""A Django project with one JSON view; also its URL configuration."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_settings")

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path


def index(request: HttpRequest) -> JsonResponse:
    """Answer a small JSON object."""
    return JsonResponse({"message": "Hello, world!", "numbers": [1, 2, 3]})


urlpatterns = [path("", index)]
app = get_wsgi_application()
