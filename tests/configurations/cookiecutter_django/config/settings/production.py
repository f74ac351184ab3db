"""Settings that configure logging as if there were no server's."""

from pathlib import Path

BASE_DIR = Path(__file__).resolve(strict=True).parent.parent.parent
SECRET_KEY = "only for the test"
ALLOWED_HOSTS = ["test.example"]
INSTALLED_APPS = ["django.contrib.staticfiles"]
ROOT_URLCONF = "config.urls"
STATIC_URL = "/static/"
STATIC_ROOT = str(BASE_DIR / "staticfiles")
USE_TZ = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": True,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"level": "INFO", "handlers": ["console"]},
}
