"""What GraphQL has in common in all apps: who may do what, things, lists, errors, transports.

An app's GraphQL is one edge file, ``graphql.py``: its types, queries, mutations, subscriptions. The
root merges them. The libraries take a second to import, so only such files import them, and
nothing imports those before the first request (see `neurascale.graphql`); a rule of the house.
"""
