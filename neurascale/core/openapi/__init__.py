"""The OpenAPI 3.1 document of the API, made from the views themselves.

What can be asked of a view is not said again: scopes, lists, ids in the path, error codes, headers.
What cannot (what a body holds, which conflicts there are) a view says in ``operations``, a mapping
from action or method to an `Operation`. `schema.document` puts it together, once a process.
"""
