"""What gunicorn's hooks are given: `server`, `worker`, `req`, `resp`, `cfg` and their log.

What gunicorn's have, and what there is here as well, has the same name and the same meaning. What
cannot be here raises an `AttributeError` that says what to use instead.

Invariant: nothing of the server depends on these objects; requests and responses are made only
where a hook gets them.
"""
