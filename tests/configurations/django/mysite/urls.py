"""One view, which tells whether the request came over TLS."""

from django.http import JsonResponse
from django.urls import path


def index(request):
    return JsonResponse({"path": request.path, "secure": request.is_secure()})


urlpatterns = [path("", index)]
