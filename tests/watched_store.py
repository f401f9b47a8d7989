"""A store whose commits a test watches: to stop, to fail or to kill at one of them."""

from contextlib import contextmanager


class WatchedStore:
    """Calls `before` before each commit of a store, which may raise, and `after` after it."""

    def __init__(self, store, before, after=lambda: None):
        self.store, self.before, self.after = store, before, after

    def __getattr__(self, name):
        return getattr(self.store, name)

    @contextmanager
    def write(self):
        with self.store.write() as t:
            yield t
            self.before()
        self.after()


def failing_at(count, error):
    """Return a call that raises at its n-th time."""
    left = iter(range(count - 1, -1, -1))

    def call():
        if next(left, -1) == 0:
            raise error

    return call
