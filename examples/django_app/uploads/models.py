"""What is remembered of an upload."""

from django.db import models


class Upload(models.Model):
    """One file that was sent: its facts, not its bytes."""

    name = models.CharField(max_length=255)
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self):
        return self.name
