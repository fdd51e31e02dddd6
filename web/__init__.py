"""The browser page: `make web` builds it, `python -m web.serve` serves it."""
