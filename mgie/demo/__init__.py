"""The web demo: `models` keeps the models, `actions` is what a user can do, `app` is the page."""
