"""A peer of lintel/1 as a command, on lintel_peer.py and sockets. Options stand before arguments.

    peer.py serve [-H echo|upper|discard|fail] [--hold N] [--layout L] [--max-frame N] ENDPOINT
    peer.py call [--layout L] [--set NAME=VALUE] [--raw] [--half-close] ENDPOINT [PAYLOAD...]
    peer.py encode [--layout L]   the JSON lines of the program to frames
    peer.py decode [--layout L]   frames to JSON lines

Endpoints are tcp://HOST:PORT and unix:///PATH; a payload is text, text: and text, or hex: and
digits. The handler fail answers with ERROR and the payload as its text; --hold answers N requests
at a time, the last one first. Exit status 0 done, 1 failed, 2 the command line is wrong.
"""

import argparse
import json
import os
import re
import signal
import socket
import struct
import sys
import threading

from lintel_peer import (BYE, BYTES, CONTROL, ERROR, FDS, HELLO, MORE, PING, PONG, REPLY, SEALED,
                         Decoder, Frame, LayoutError, Refused, encode, from_json, layout_of,
                         to_json)

MESSAGE_LIMIT = 64 << 20
FRAGMENT = 256 << 10


# ---- messages --------------------------------------------------------------------------------

class Message:
    def __init__(self, frame):
        self.flags = frame.values['flags'] & ~MORE
        self.type = frame.values['type']
        self.id = frame.values['id']
        self.payload = bytearray(frame.payload)
        self.last = frame

    def goes_on(self, frame):
        return (frame.values['flags'] & ~MORE, frame.values['type'], frame.values['id']) \
            == (self.flags, self.type, self.id)


class Assembler:
    """Frames in; control frames as frames, and messages when they are whole, out."""

    def __init__(self, limit=MESSAGE_LIMIT):
        self.limit = limit
        self.open = None

    def take(self, frame):
        if frame.values['flags'] == CONTROL:
            return frame
        if self.open is None:
            self.open = Message(frame)
        elif not self.open.goes_on(frame):
            raise Refused('LINTEL_E_MALFORMED', frame.offset, 'a fragment of another message')
        else:
            self.open.payload += frame.payload
        if len(self.open.payload) > self.limit:
            raise Refused('LINTEL_E_TOO_LARGE', frame.offset, 'a message over the limit')
        if frame.values['flags'] & MORE:
            return None
        message, self.open = self.open, None
        return message


def fragments(layout, values, payload, limit):
    """The frames of one message of lintel's own layout, or the one frame of a foreign one."""
    size = min(FRAGMENT, limit)
    if not layout.is_lintel or len(payload) <= limit:
        yield encode(layout, values, payload)
        return
    flags = values.get('flags', 0)
    for at in range(0, len(payload), size):
        more = 0 if at + size >= len(payload) else MORE
        yield encode(layout, dict(values, flags=flags | more), payload[at:at + size])


# ---- sockets ---------------------------------------------------------------------------------

class UsageError(ValueError):
    pass


def endpoint(text):
    """Address family and address of an endpoint."""
    if text.startswith('unix:///'):
        return socket.AF_UNIX, text[7:]
    match = re.fullmatch(r'tcp://(?:\[(.*)\]|([^:]*)):(\d+)', text)
    if match is None:
        raise UsageError('no such endpoint: ' + text)
    return (socket.AF_INET6 if match.group(1) else socket.AF_INET,
            (match.group(1) or match.group(2), int(match.group(3))))


def connect(text):
    family, address = endpoint(text)
    connection = socket.socket(family)
    connection.connect(address)
    return connection


def listen(text):
    """A listening socket and the endpoint that it really has."""
    family, address = endpoint(text)
    listener = socket.socket(family)
    if family != socket.AF_UNIX:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(128)
    if family == socket.AF_UNIX:
        return listener, text
    host, port = listener.getsockname()[:2]
    return listener, 'tcp://%s:%d' % ('[%s]' % host if ':' in host else host, port)


HANDLERS = {'echo': bytes, 'upper': lambda payload: bytes(payload).upper(), 'discard': None,
            'fail': bytes}
REASONS = {'LINTEL_E_VERSION': 9, 'LINTEL_E_TOO_LARGE': 5}


class Session:
    """One connection of the server, from accept to close."""

    def __init__(self, connection, layout, options):
        self.connection = connection
        self.layout = layout
        self.handler = HANDLERS[options.handler]
        self.flags = REPLY | ERROR if options.handler == 'fail' else REPLY
        self.hold = options.hold
        self.decoder = Decoder(layout, options.max_frame)
        self.assembler = Assembler()
        self.last_id = 0
        self.held = []

    def run(self):
        try:
            self._serve()
        except Refused as error:
            sys.stderr.write('peer: %s\n' % error)
            if self.layout.is_lintel:
                self._bye(REASONS.get(error.code, 4))
        except OSError as error:
            sys.stderr.write('peer: %s\n' % error)
        finally:
            self.connection.close()

    def _serve(self):
        while True:
            data = self.connection.recv(65536)
            if data:
                self.decoder.feed(data)
            else:
                self.decoder.end()
            while True:
                frame = self.decoder.next()
                if frame is None:
                    break
                if not self._take(frame):
                    return
            if not data:
                if self.assembler.open:
                    raise Refused('LINTEL_E_TRUNCATED', self.assembler.open.last.offset,
                                  'the stream ended between fragments')
                self._answer()
                self.connection.shutdown(socket.SHUT_WR)
                return

    def _take(self, frame):
        """Handle a frame; False when the session is over."""
        if not self.layout.is_lintel:
            if self.handler:
                payload = self.handler(frame.payload)
                self.connection.sendall(encode(self.layout, frame.values, payload))
            return True
        item = self.assembler.take(frame)
        if isinstance(item, Frame):
            return self._control(item)
        if item is None or item.flags & REPLY or item.id == 0:
            return True
        self.last_id = item.id
        if self.handler:
            self.held.append(item)
        if len(self.held) >= self.hold:
            self._answer()
        return True

    def _answer(self):
        while self.held:
            item = self.held.pop()
            values = {'flags': self.flags, 'type': item.type, 'id': item.id}
            for part in fragments(self.layout, values, self.handler(item.payload),
                                  self.decoder.limit):
                self.connection.sendall(part)

    def _control(self, frame):
        kind = frame.values['type']
        if kind == PING:
            self.connection.sendall(encode(self.layout, dict(frame.values, type=PONG),
                                           frame.payload))
        elif kind == BYE:
            self._answer()
            self.connection.shutdown(socket.SHUT_WR)
            return False
        elif kind in (HELLO, SEALED):
            self._bye(6)
            return False
        elif kind == FDS:
            raise Refused('LINTEL_E_MALFORMED', frame.offset, 'descriptors are missing')
        return True

    def _bye(self, reason):
        """BYE, half-close, and what still comes discarded for 1 second and 1 MiB."""
        try:
            payload = struct.pack('!II', reason, self.last_id)
            self.connection.sendall(encode(self.layout, {'flags': CONTROL, 'type': BYE}, payload))
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            left = 1 << 20
            while left > 0:
                data = self.connection.recv(65536)
                if not data:
                    return
                left -= len(data)
        except OSError:
            pass


def serve(options):
    layout = layout_of(options.layout)
    layout.limit(options.max_frame)
    listener, name = listen(options.endpoint)

    def end(*_):
        if listener.family == socket.AF_UNIX:
            os.unlink(listener.getsockname())
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    print('listening on ' + name, flush=True)
    while True:
        connection, _ = listener.accept()
        session = Session(connection, layout, options)
        threading.Thread(target=session.run, daemon=True).start()


def payload_of(text):
    if text.startswith('hex:'):
        return bytes.fromhex(text[4:])
    return (text[5:] if text.startswith('text:') else text).encode()


class Call:
    """The client: all requests out, all replies in, matched by id where the layout has one."""

    def __init__(self, options):
        self.layout = layout_of(options.layout)
        self.options = options
        self.by_id = self.layout.has('id')
        self.values = {}
        for item in options.set:
            name, _, value = item.partition('=')
            view = next((view for view in self.layout.views() if view.name == name), None)
            if view is None or view.constant is not None or view is self.layout.length:
                raise UsageError('--set %s: no such view, or not one to set' % name)
            self.values[name] = payload_of(value) if view.field.code in BYTES else int(value, 0)

    def requests(self):
        for number, payload in enumerate(self.options.payload, 1):
            values = dict(self.values, **({'id': number} if self.by_id else {}))
            yield from fragments(self.layout, values, payload_of(payload),
                                 self.layout.limit(self.options.max_frame))

    def run(self):
        connection = connect(self.options.endpoint)
        sender = threading.Thread(target=self._send, args=(connection,), daemon=True)
        sender.start()
        replies = self._receive(connection)
        sender.join()
        connection.close()
        failed = 0
        for number in range(1, len(self.options.payload) + 1):
            flags, payload = replies.get(number, (None, b''))
            if flags is None:
                sys.stderr.write('peer: request %d: no reply\n' % number)
                failed = 1
            elif flags & ERROR:
                sys.stderr.write('peer: request %d: %r\n' % (number, bytes(payload)))
                failed = 1
            else:
                sys.stdout.buffer.write(bytes(payload) + (b'' if self.options.raw else b'\n'))
        sys.stdout.buffer.flush()
        return failed

    def _send(self, connection):
        try:
            for part in self.requests():
                connection.sendall(part)
            if self.options.half_close:
                connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            sys.stderr.write('peer: %s\n' % error)

    def _receive(self, connection):
        decoder, assembler, replies = Decoder(self.layout, self.options.max_frame), Assembler(), {}
        while len(replies) < len(self.options.payload):
            data = connection.recv(65536)
            if data:
                decoder.feed(data)
            else:
                decoder.end()
            while True:
                frame = decoder.next()
                if frame is None:
                    break
                if not self._reply(connection, assembler, frame, replies):
                    return replies
            if not data:
                break
        return replies

    def _reply(self, connection, assembler, frame, replies):
        """Take a frame; False when the peer has said BYE."""
        if not self.layout.is_lintel:
            number = frame.values['id'] if self.by_id else len(replies) + 1
            replies[number] = (0, frame.payload)
            return True
        item = assembler.take(frame)
        if isinstance(item, Message) and item.flags & REPLY:
            replies.setdefault(item.id, (item.flags, item.payload))
        elif isinstance(item, Frame) and item.values['type'] == PING:
            connection.sendall(encode(self.layout, dict(item.values, type=PONG), item.payload))
        elif isinstance(item, Frame) and item.values['type'] == BYE:
            reason, last = struct.unpack('!II', item.payload)
            sys.stderr.write('peer: the peer said BYE %d, last id %d\n' % (reason, last))
            return False
        return True


def run_encode(options):
    layout = layout_of(options.layout)
    for line in sys.stdin:
        sys.stdout.buffer.write(encode(layout, *from_json(layout, json.loads(line))))
    return 0


def run_decode(options):
    decoder = Decoder(layout_of(options.layout), options.max_frame)
    decoder.feed(sys.stdin.buffer.read())
    decoder.end()
    while True:
        frame = decoder.next()
        if frame is None:
            return 0
        print(json.dumps(to_json(frame), separators=(',', ':')))


def parse_options(arguments):
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('--layout', default='lintel')
    common.add_argument('--max-frame', type=int)
    parser = argparse.ArgumentParser(prog='peer.py')
    commands = parser.add_subparsers(dest='command', required=True)
    server = commands.add_parser('serve', parents=[common])
    server.add_argument('-H', dest='handler', choices=sorted(HANDLERS), default='echo')
    server.add_argument('--hold', type=int, default=1)
    server.add_argument('endpoint')
    client = commands.add_parser('call', parents=[common])
    client.add_argument('--raw', action='store_true')
    client.add_argument('--half-close', action='store_true')
    client.add_argument('--set', action='append', default=[])
    client.add_argument('endpoint')
    client.add_argument('payload', nargs='*')
    commands.add_parser('encode', parents=[common])
    commands.add_parser('decode', parents=[common])
    return parser.parse_args(arguments)


def main(arguments):
    options = parse_options(arguments)
    run = {'serve': serve, 'call': lambda given: Call(given).run(), 'encode': run_encode,
           'decode': run_decode}[options.command]
    try:
        return run(options)
    except (LayoutError, UsageError) as error:
        sys.stderr.write('peer: %s\n' % error)
        return 2
    except (Refused, ValueError, OSError) as error:
        sys.stdout.flush()
        sys.stderr.write('peer: %s\n' % error)
        return 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
