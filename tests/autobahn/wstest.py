"""Runs Autobahn's fuzzing client, converted by `convert.py`: wstest.py FOLDER SPECIFICATION

Octets are characters below U+0100 in the converted cases and `bytes` in the library: this is where they meet. The
report is `index.json` and a JSON file for each case, in the specification's `outdir`. An exception anywhere makes the
exit code 1: a case that ended by one says nothing about the server.
"""

import codecs
import json
import pathlib
import sys
import types

folder, specification = sys.argv[1:]
sys.path.insert(0, folder)

from autobahn.websocket import protocol as library  # noqa: E402
from autobahntestsuite import fuzzing  # noqa: E402
from twisted.internet import reactor  # noqa: E402
from twisted.logger import globalLogBeginner  # noqa: E402

# No case, and no handshake of one, is given up earlier, in seconds: a busy machine is not a broken server. A case that
# goes as it should ends when it has seen what it waits for.
PATIENCE = 30


def octets(string):
    return string.encode("latin-1") if isinstance(string, str) else string


def characters(value):
    """The value with `str` for every `bytes` in it."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (list, tuple)):
        return [characters(item) for item in value]
    if isinstance(value, dict):
        return {key: characters(item) for key, item in value.items()}
    return value


class Protocol(fuzzing.FuzzingClientProtocol):
    def sendFrame(self, opcode, payload=b"", **options):
        super().sendFrame(opcode, octets(payload), **options)

    def sendMessage(self, payload, isBinary=False, **options):
        # An error in current releases of the library, nothing in those that the cases were written for.
        if self.state == self.STATE_OPEN:
            super().sendMessage(octets(payload), isBinary, **options)

    def sendMessageFrameData(self, payload, **options):
        return super().sendMessageFrameData(octets(payload), **options)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        super().sendCloseFrame(code, octets(reasonUtf8), isReply)
        self.localCloseReason = characters(self.localCloseReason)

    def onMessage(self, payload, isBinary):
        super().onMessage(characters(payload), isBinary)

    def onPong(self, payload):
        super().onPong(characters(payload))

    def killAfter(self, delay):
        super().killAfter(max(delay, PATIENCE))

    def closeAfter(self, delay):
        super().closeAfter(max(delay, PATIENCE))


class Factory(fuzzing.FuzzingClientFactory):
    protocol = Protocol

    def resetProtocolOptions(self):
        super().resetProtocolOptions()
        self.openHandshakeTimeout = self.closeHandshakeTimeout = self.serverConnectionDropTimeout = PATIENCE
        # The library's own rounds to whole seconds, which makes a timeout of one second one of none at all.
        self._batched_timer = types.SimpleNamespace(call_later=reactor.callLater)

    def logCase(self, results):
        super().logCase(characters(results))

    def createReports(self):
        super().createReports(produceHtml=False)


class Mask:
    """The library's, in Python, takes an octet at a time."""

    def __init__(self, mask, length=None):
        self.mask, self.position = mask, 0

    def pointer(self):
        return self.position

    def reset(self):
        self.position = 0

    def process(self, data):
        length, start = len(data), self.position % 4
        key = (self.mask[start:] + self.mask[:start]) * (length // 4 + 1)
        self.position += length
        return (int.from_bytes(data, "big") ^ int.from_bytes(key[:length], "big")).to_bytes(length, "big")


class Utf8Validator:
    """Likewise."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.decoder, self.position = codecs.getincrementaldecoder("utf-8")(), 0

    def validate(self, data):
        """Whether it is valid, whether a character ends here, and where in these and in all octets."""
        try:
            self.decoder.decode(data)
        except UnicodeDecodeError as error:
            return False, False, error.start, self.position + error.start
        self.position += len(data)
        return True, not self.decoder.getstate()[0], len(data), self.position


def shown(data, maxlen=64, replace=False):
    """What reports show of octets."""
    data = octets(data)
    try:
        text = data[:maxlen].decode("utf-8")
    except UnicodeDecodeError:
        text = "0x" + data[:maxlen].hex()
    return text if len(data) <= maxlen else text + " ..."


def shown_hex(data, maxlen=64):
    return data[:maxlen].hex() + ("" if len(data) <= maxlen else " ...")


def log(event):
    if failure := event.get("log_failure"):
        failures.append(failure)
        print(failure.getTraceback(), file=sys.stderr)


failures = []
library.create_xor_masker, library.Utf8Validator = Mask, Utf8Validator
fuzzing.asciiLogData, fuzzing.binLogData = shown, shown_hex
globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False)
Factory(json.loads(pathlib.Path(specification).read_text("utf-8")))
reactor.run()
sys.exit(1 if failures else 0)
