"""The upload form and a streamed answer."""

import hashlib

from django.http import JsonResponse, StreamingHttpResponse
from django.shortcuts import render

from uploads.models import Upload


def upload(request):
    """GET: the form. POST: size and SHA-256 of the file, which is recorded."""
    if request.method != "POST":
        return render(
            request, "uploads/form.html", {"uploads": Upload.objects.order_by("-at")[:10]}
        )
    sent = request.FILES["file"]
    digest = hashlib.sha256()
    for block in sent.chunks():
        digest.update(block)
    made = Upload.objects.create(name=sent.name, size=sent.size, sha256=digest.hexdigest())
    return JsonResponse({"name": made.name, "size": made.size, "sha256": made.sha256})


def stream(request):
    """Lines that are sent one by one."""
    count = int(request.GET.get("lines", 10))
    lines = (f"line {number}\n" for number in range(count))
    return StreamingHttpResponse(lines, content_type="text/plain")
