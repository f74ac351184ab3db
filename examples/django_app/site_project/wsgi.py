"""The WSGI application: `oxicorn site_project.wsgi`.

Static files go through the application here, so that the example needs nothing else.
"""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_project.settings")

application = StaticFilesHandler(get_wsgi_application())
