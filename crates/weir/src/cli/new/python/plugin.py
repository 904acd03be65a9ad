"""Greets the upstream, and turns away who does not know the word."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import plugin
from wit_world.imports import log, time, types

settings = {}


class Exchange(plugin.Exchange):
    """What is kept for one exchange, from its first hook to its last."""

    def __init__(self, id):
        self.began = None


class Plugin(exports.Plugin):
    def load(self, text):
        """What the configuration may set. All of it is checked before a request is served."""
        settings.update({"word": "hello"}, **json.loads(text))
        for name, value in settings.items():
            if name not in ("word", "secret"):
                raise Err(f"there is no setting {name}")
            if not isinstance(value, str):
                raise Err(f"{name}: a string is wanted")
        return plugin.Manifest(types.Hooks.REQUEST | types.Hooks.RESPONSE, None)


def verdict(hook):
    """An error that nobody catches would end the instance."""

    def caught(*arguments):
        try:
            return hook(*arguments) or types.Verdict_Proceed()
        except Exception as error:
            return types.Verdict_Fail(repr(error))

    return caught


class HttpHooks(exports.HttpHooks):
    @verdict
    def on_request(self, x, req):
        """After routing, before an upstream is asked."""
        secret = settings.get("secret")
        if secret is not None and req.headers().get("x-secret") != secret.encode():
            log.info(f"a stranger at {req.path()}")
            return types.Verdict_Respond(types.Reply(403, [], b"no\n"))
        x.began = time.monotonic()
        greeting = f"{settings['word']} {req.client_ip() or 'you'}"
        req.headers().set("x-greeting", greeting.encode())

    @verdict
    def on_response(self, x, res, req):
        """The head of the response is there."""
        if x.began is not None:
            res.headers().set("x-took", f"{time.monotonic() - x.began:.3f}".encode())

    # Not called: `load` does not ask for them.

    def on_request_body(self, x, data, last):
        return types.Piece_Pass()

    def on_response_body(self, x, data, last):
        return types.Piece_Pass()

    def select_upstream(self, x, selection, req):
        return types.Target_Default()

    def on_log(self, x, res, req):
        pass
