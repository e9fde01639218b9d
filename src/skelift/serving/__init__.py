"""The model behind an endpoint: archive, handler, server and client."""
