"""Sealed connections of the independent reading: sockets under lintel_seal, keys in files, and both ends.

A Line is one side of a connection: inner bytes in and out, and what went over the wire as it was.
"""

import base64
import hashlib
import os
import socket
import subprocess
import tempfile
import threading
import time

import lintel_peer as peer
import lintel_seal as seal
import peer as peer_sockets

WATCHDOG = 60
LINTEL = peer.layout_of('lintel')


def secret(label):
    return hashlib.sha256(b'lintel tools ' + label.encode()).digest()


# ---- keys ------------------------------------------------------------------------------------

class Ring:
    """Keys of a server, a client and a stranger: as files for the program, as bytes for the reading."""

    KINDS = ('psk', 'ik')

    def __init__(self, folder):
        self.folder = folder
        for name in ('server', 'client', 'stranger'):
            self._write(name + '.key', secret(name))
            self._write(name + '.pub', seal.public_of(secret(name)))
        self._write('shared.psk', secret('shared'))

    def _write(self, name, key):
        with open(self.path(name), 'w', encoding='ascii', opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(base64.b64encode(key).decode() + '\n')

    def path(self, name):
        return os.path.join(self.folder, name)

    def listens(self, mode):
        """Options of a side that accepts, for either kind of client."""
        return ['--psk', self.path('shared.psk'), '--key', self.path('server.key'), '--peer', self.path('client.pub'),
                '--seal', mode]

    def connects(self, kind, mode):
        keys = ['--psk', self.path('shared.psk')] if kind == 'psk' else \
            ['--key', self.path('client.key'), '--peer', self.path('server.pub')]
        return keys + ['--seal', mode]

    @staticmethod
    def initiator(kind, mode, shared='shared', own='client', server='server'):
        if kind == 'psk':
            return seal.Keys(mode, [(secret(shared), 'server')])
        return seal.Keys(mode, (), secret(own), [(seal.public_of(secret(server)), 'server')])

    @staticmethod
    def responder(kind, mode):
        if kind == 'psk':
            return seal.Keys(mode, [(secret('shared'), 'client')])
        return seal.Keys(mode, (), secret('server'), [(seal.public_of(secret('client')), 'client')])


# ---- one connection --------------------------------------------------------------------------

class Line:
    def __init__(self, connection, keys, initiator):
        self.connection = connection
        self.connection.settimeout(WATCHDOG)
        self.session = seal.Session(initiator, keys)
        self.buffer = b''
        self.got = b''
        self.sent = b''
        self.ended = False

    def raw(self, wire):
        """Bytes as they are; the other side may have closed already."""
        self.sent += wire
        try:
            self.connection.sendall(wire)
        except OSError:
            pass

    def shut(self):
        try:
            self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _more(self):
        try:
            data = self.connection.recv(1 << 16)
        except ConnectionResetError:
            data = b''
        self.buffer += data
        self.got += data
        return bool(data)

    def take(self):
        """What came, as Session.take(), but the whole of it; None at the end of the stream."""
        while True:
            item = self.session.take(self.buffer)
            if item:
                self.buffer = self.buffer[item[2]:]
                return item[:2]
            if not self._more():
                self.ended = True
                return None

    def greet(self):
        """The handshake of either side, without record 0."""
        if self.session.initiator:
            self.raw(self.session.hello())
            return self.take()
        first = self.take()
        if first:
            self.raw(self.session.hello())
        return first

    def records(self, inner, last=False, cut=seal.PIECE_MAX):
        """The wire of so many inner bytes; the last record is as the others are."""
        pieces = [inner[at:at + cut] for at in range(0, len(inner), cut)] or [b'']
        return b''.join(self.session.record(piece, last and number == len(pieces))
                        for number, piece in enumerate(pieces, 1))

    def say(self, inner=b'', last=False, cut=seal.PIECE_MAX):
        self.raw(self.records(inner, last, cut))
        if last:
            self.shut()

    def hear(self):
        """All inner bytes up to the peer's last record, and how it ended."""
        inner = b''
        while True:
            item = self.take()
            if item is None:
                return inner, self._end()
            inner += item[1]
            if item[0] == 'last':
                while self._more():
                    pass
                return inner, self._end()

    def _end(self):
        try:
            return self.session.end(len(self.buffer))
        except seal.Failed as why:
            return why.code

    def hear_frames(self, count):
        decoder = peer.Decoder(LINTEL)
        frames = []
        while len(frames) < count:
            item = self.take()
            if item is None:
                return frames
            decoder.feed(item[1])
            while frame := decoder.next():
                frames.append(frame)
            if item[0] == 'last':
                return frames
        return frames

    def rest(self):
        """All that still comes, as it is."""
        while self._more():
            pass
        rest, self.buffer = self.buffer, b''
        return rest

    def close(self):
        self.connection.close()


def open_line(endpoint, keys):
    return Line(peer_sockets.connect(endpoint), keys, True)


# ---- the program as the side that accepts ----------------------------------------------------

class Program:
    """serve or recv as a child; what it says goes to files, and is looked at when it has ended."""

    def __init__(self, command, says_on):
        self.files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
        self.process = subprocess.Popen(command, stdout=self.files[0], stderr=self.files[1])
        self.says_on = says_on

    def said(self, which):
        # The child writes where the descriptor's offset is: it must not be moved.
        file = self.files[which].fileno()
        return os.pread(file, os.fstat(file).st_size, 0)

    def wait_for(self, which, words):
        end = time.monotonic() + WATCHDOG
        while words not in self.said(which):
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError('%r does not say %r, but %r' % (self.process.args, words, self.said(which)))
            time.sleep(0.002)

    def wait_for_more(self, seen):
        """Until it has said another line on standard error."""
        end = time.monotonic() + WATCHDOG
        while b'\n' not in self.said(1)[seen:] and time.monotonic() < end and self.process.poll() is None:
            time.sleep(0.002)

    def __enter__(self):
        self.wait_for(self.says_on, b'\n')
        self.endpoint = self.said(self.says_on).decode().split('\n')[0][len('listening on '):]
        return self

    def __exit__(self, *_):
        self.end()
        for file in self.files:
            file.close()

    def end(self, tell=True):
        """Exit status; standard output and error are then in out and err, without the listening line."""
        if self.process.returncode is None and tell:
            self.process.terminate()
        try:
            self.status = self.process.wait(WATCHDOG)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.status = 'killed by the watchdog'
        said = [self.said(0), self.said(1)]
        said[self.says_on] = said[self.says_on].split(b'\n', 1)[-1]
        self.out, self.err = said[0], said[1].decode(errors='replace')
        return self.status


# ---- the reading as the side that accepts ----------------------------------------------------

class Responder:
    """Accepts one connection and plays a part on it; what the part returns is then in result."""

    def __init__(self, endpoint, keys, part):
        self.listener, self.endpoint = peer_sockets.listen(endpoint)
        self.listener.settimeout(WATCHDOG)
        self.keys = keys
        self.part = part
        self.result = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        connection, _ = self.listener.accept()
        line = Line(connection, self.keys, False)
        try:
            self.result = self.part(line)
        except (seal.Failed, OSError) as why:
            self.result = '%s: %s' % (getattr(why, 'code', 'OSError'), why)
        finally:
            line.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(WATCHDOG)
        self.listener.close()
        if self.listener.family == socket.AF_UNIX:
            os.unlink(self.endpoint[len('unix://'):])
