"""The HTTP API (`mgie serve`): OpenAI's `images/edits` in front of one warm model.

`app` has the routes, `requests` turns a form into edits, `batching` runs them together in one thread,
`limits` guards requests, `files` keeps results for links, `metrics` counts, `run` is the process.
"""
