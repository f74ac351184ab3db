"""Applications that the end-to-end tests run under the server."""
