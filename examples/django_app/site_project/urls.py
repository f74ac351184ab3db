"""Paths of the example project."""

from django.contrib import admin
from django.urls import path

from uploads import views

urlpatterns = [
    path("", views.upload, name="upload"),
    path("admin/", admin.site.urls),
    path("stream/", views.stream, name="stream"),
]
