"""One view, which logs."""

import logging

from django.http import JsonResponse
from django.urls import path


def index(request):
    logging.getLogger("site").info("asked for the index")
    return JsonResponse({"served by": "cookiecutter"})


urlpatterns = [path("", index)]
