"""Uploads in the admin."""

from django.contrib import admin

from uploads.models import Upload

admin.site.register(Upload, list_display=["name", "size", "at"])
