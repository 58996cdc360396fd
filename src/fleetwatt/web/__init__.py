"""The page for operators, at `/`: static files, and the blueprint that serves them.

The page is a client of the routes that OpenAPI documents, and knows nothing else.
"""
