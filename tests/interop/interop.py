"""The program (LINTEL) and the reading in Python (peer.py) against each other."""

import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile

import lintel_peer as peer
import peer as peer_sockets
import vectors

LINTEL = os.environ['LINTEL']
HERE = os.path.dirname(os.path.abspath(__file__))
PEER = [sys.executable, '-B', os.path.join(HERE, 'peer.py')]
WATCHDOG = 60

# The layouts that servers and clients are tried with, and what a request needs besides.
FOREIGN = [('u32', []), ('postgres', ['--set', 'type=Q']), ('kafka', []),
           ('mqtt', ['--set', 'type=48']), ('http2', ['--set', 'stream=1']),
           ('amqp', ['--set', 'type=3', '--set', 'channel=7'])]
PAYLOADS = ['hello', '', 'two words', 'hex:' + bytes(range(256)).hex(), 'x' * 40000]

checks = 0
failures = []


def check(name, what, want, got):
    global checks
    checks += 1
    if want != got:
        failures.append(name)
        print('FAIL %s: %s\n  want %.600r\n  got  %.600r' % (name, what, want, got))


def run(command, data=b''):
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=WATCHDOG)
    except subprocess.TimeoutExpired:
        return 'stopped by the watchdog', b'', ''
    return done.returncode, done.stdout, done.stderr.decode(errors='replace')


class Server:
    """A server as a child, with the endpoint that it has printed."""

    def __init__(self, command, stderr=None):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)

    def __enter__(self):
        if not select.select([self.process.stdout], [], [], WATCHDOG)[0]:
            self.process.kill()
            raise RuntimeError('%r says nothing' % self.process.args)
        line = self.process.stdout.readline().decode().rstrip('\n')
        if not line.startswith('listening on '):
            self.process.kill()
            raise RuntimeError('no listening line, but %r' % line)
        self.endpoint = line[len('listening on '):]
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.status = self.process.wait(WATCHDOG)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.status = 'killed by the watchdog'
        self.process.stdout.close()


def printed(payload, upper=False):
    data = bytes.fromhex(payload[4:]) if payload.startswith('hex:') else payload.encode()
    return data.upper() if upper else data


# ---- files -----------------------------------------------------------------------------------

def json_lines(text):
    return [json.loads(line) for line in text.decode().splitlines()]


def frames_of(layout, limit, wire):
    """What the reading in Python makes of a stream: JSON objects, and the error or None."""
    decoder = peer.Decoder(layout, limit)
    decoder.feed(wire)
    decoder.end()
    items = []
    try:
        while True:
            frame = decoder.next()
            if frame is None:
                return items, None
            items.append(peer.to_json(frame))
    except peer.Refused as error:
        return items, error


def try_vector(folder, name):
    text = vectors.read(folder, 'layout', 'lintel\n').rstrip('\n')
    limit = vectors.read(folder, 'max_frame', '')
    options = ['--layout', text] + (['--max-frame', limit.strip()] if limit else [])
    layout, wire = peer.layout_of(text), vectors.wire_of(folder)
    items, error = frames_of(layout, int(limit) if limit else None, wire)
    status, out, err = run([LINTEL, 'decode', '--json'] + options, wire)
    check(name, 'decode --json', items, json_lines(out))
    check(name, 'exit status of decode', 1 if error else 0, status)
    if error:
        check(name, 'one line on stderr', 1, err.count('\n'))
        check(name, 'the line', 'lintel decode: ', err[:len('lintel decode: ')])
        check(name, 'the offset in ' + err, True, 'byte %d' % error.offset in err)
        return
    lines = ''.join(json.dumps(item) + '\n' for item in items).encode()
    again = b''.join(peer.encode(layout, *peer.from_json(layout, item)) for item in items)
    status, out, err = run([LINTEL, 'encode', '--json'] + options, lines)
    check(name, 'encode --json', (0, again.hex(), ''), (status, out.hex(), err))
    status, out, err = run([LINTEL, 'decode', '--raw'] + options, wire)
    check(name, 'decode --raw', ''.join(item['payload'] for item in items), out.hex())


def try_vectors(root):
    for kind in ('valid', 'invalid'):
        folder = os.path.join(root, 'vectors', kind)
        for name in sorted(os.listdir(folder)):
            try_vector(os.path.join(folder, name), name)


def try_refused(root):
    for line in vectors.read(root, 'vectors/refused.txt').splitlines():
        if not line or line.startswith('#'):
            continue
        column, text = line.split(' ', 1)
        status, out, err = run([LINTEL, 'layout', text])
        check(text, 'exit status', 2, status)
        check(text, 'the column in ' + err, True, 'column %s:' % column in err)


def try_lines(text, options):
    layout = peer.layout_of(text)
    lines = [b'first', b'', b'third \r', b'last without a newline']
    status, out, err = run([LINTEL, 'encode', '--layout', text] + options, b'\n'.join(lines))
    items, error = frames_of(layout, None, out)
    check(text, 'encode, read back', (0, '', None), (status, err, error))
    check(text, 'a line a frame', [line.hex() for line in lines],
          [item['payload'] for item in items])
    if text == 'lintel':
        check(text, 'flags, types and ids', [(0, 0, i) for i in (1, 2, 3, 4)],
              [tuple(item['header'][name] for name in ('flags', 'type', 'id')) for item in items])
    data = bytes(range(256)) * 40
    for options, sizes in ((['--whole'], [10240]), (['--chunk', '4K'], [4096, 4096, 2048])):
        status, out, err = run([LINTEL, 'encode', '--layout', text] + options, data)
        items, error = frames_of(layout, None, out)
        check(text, ' '.join(options), (sizes, data.hex()),
              ([item['length'] for item in items], ''.join(item['payload'] for item in items)))


# ---- servers and clients ---------------------------------------------------------------------

def endpoints(folder):
    return ['tcp://127.0.0.1:0', 'unix://' + os.path.join(folder, 'socket')]


def try_program_serves(folder, text, options, handler):
    name = 'serve -H %s --layout %s' % (handler, text)
    want = b''.join(printed(item, handler == 'upper') + b'\n' for item in PAYLOADS)
    for endpoint in endpoints(folder):
        with Server([LINTEL, 'serve', '-H', handler, '--layout', text, endpoint]) as server:
            for _ in range(2):
                status, out, err = run(PEER + ['call', '--layout', text] + options
                                       + [server.endpoint] + PAYLOADS)
                check(name, endpoint, (0, want, ''), (status, out, err))
        check(name, 'exit status after SIGTERM', 0, server.status)


def try_program_calls(folder, text, options, handler):
    name = 'call --layout %s, the server is Python' % text
    want = b''.join(printed(item, handler == 'upper') + b'\n' for item in PAYLOADS)
    for endpoint in endpoints(folder):
        with Server(PEER + ['serve', '-H', handler, '--layout', text, endpoint]) as server:
            for more in ([], ['--half-close']):
                status, out, err = run([LINTEL, 'call', '--layout', text] + options + more
                                       + [server.endpoint] + PAYLOADS)
                check(name, ' '.join([endpoint] + more), (0, want, ''), (status, out, err))
            status, out, err = run([LINTEL, 'call', '--raw', '--layout', text] + options
                                   + [server.endpoint, 'one', 'two'])
            check(name, '--raw', (0, printed('onetwo', handler == 'upper'), ''),
                  (status, out, err))


def frame(flags, kind=0, ident=0, payload=b'', version=1, length=None):
    length = len(payload) if length is None else length
    return struct.pack('!HBBIII', 0x4c54, version, flags, kind, ident, length) + payload


def bye(reason, last=0):
    return frame(8, 4, 0, struct.pack('!II', reason, last))


# What a side sends before it shuts down writing, and all that an echo server sends back.
DIALOGUES = [
    ('nothing', b'', b''),
    ('a request', frame(0, 7, 1, b'a'), frame(1, 7, 1, b'a')),
    ('no reply wanted', frame(0, 7, 0, b'a') + frame(0, 7, 2, b'b'), frame(1, 7, 2, b'b')),
    ('the same id twice', frame(0, 1, 9, b'a') + frame(0, 2, 9, b'b'),
     frame(1, 1, 9, b'a') + frame(1, 2, 9, b'b')),
    ('an unasked reply', frame(1, 7, 5, b'a') + frame(3, 7, 5, b'b'), b''),
    ('a PING', frame(8, 2, 3, b'?') + frame(8, 2), frame(8, 3, 3, b'?') + frame(8, 3)),
    ('an unasked PONG', frame(8, 3, 3, b'?'), b''),
    ('BYE', frame(0, 7, 1, b'a') + bye(0), frame(1, 7, 1, b'a')),
    ('HELLO', frame(8, 1, 0, bytes(51)), bye(6)),
    ('SEALED', frame(8, 5, 0, bytes(16)), bye(6)),
    ('another magic', b'GET / HTTP/1.1\r\n\r\n', bye(4)),
    ('another version', frame(0, 7, 1, version=2), bye(9)),
    ('a reserved flag', frame(0x10, 7, 1), bye(4)),
    ('ERROR without REPLY', frame(2, 7, 1), bye(4)),
    ('an unknown control type', frame(8, 7), bye(4)),
    ('a BYE of 7 bytes', frame(8, 4, 0, bytes(7)), bye(4)),
    ('a frame too large', frame(0, 7, 1, length=1 << 31), bye(5)),
    ('the end in a frame', frame(0, 7, 1, b'a')[:-1], bye(4)),
    ('a last id', frame(0, 7, 5, b'a') + frame(0, 7, 0) + frame(9, 7, 7),
     frame(1, 7, 5, b'a') + bye(4, 5)),
]
MESSAGE_DIALOGUES = [
    ('fragments', frame(4, 7, 1, b'a') + frame(4, 7, 1) + frame(0, 7, 1, b'b'),
     frame(1, 7, 1, b'ab')),
    ('a PING between fragments', frame(4, 7, 1, b'a') + frame(8, 2, 3, b'?') + frame(0, 7, 1),
     frame(8, 3, 3, b'?') + frame(1, 7, 1, b'a')),
    ('another fragment', frame(4, 7, 1, b'a') + frame(0, 7, 2, b'b'), bye(4)),
    ('the end between fragments', frame(4, 7, 1, b'a'), bye(4)),
    ('a last id before a fragment', frame(0, 7, 5, b'a') + frame(4, 7, 6) + frame(9, 7, 7),
     frame(1, 7, 5, b'a') + bye(4, 5)),
]


def dialogue(endpoint, sent):
    """All that comes back from a server to which this is sent, with a half-close behind it."""
    with peer_sockets.connect(endpoint) as connection:
        connection.settimeout(WATCHDOG)
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        got = b''
        while True:
            data = connection.recv(65536)
            if not data:
                return got
            got += data


def try_dialogues(folder, whose, command, dialogues):
    for endpoint in endpoints(folder):
        with Server(command + ['-H', 'echo', endpoint], subprocess.DEVNULL) as server:
            for name, sent, want in dialogues:
                check('a dialogue with the server of %s: %s' % (whose, name), endpoint, want.hex(),
                      dialogue(server.endpoint, sent).hex())


def try_replies(folder):
    """Replies in another order, and error replies, from a Python server."""
    endpoint = endpoints(folder)[0]
    lines = [b'line %d' % i for i in range(1, 1001)]
    with Server(PEER + ['serve', '--hold', '10', endpoint]) as server:
        status, out, err = run([LINTEL, 'call', '--lines', server.endpoint], b'\n'.join(lines))
        check('replies in another order', 'call --lines', (0, lines, ''),
              (status, out.splitlines(), err))
    with Server(PEER + ['serve', '-H', 'fail', endpoint]) as server:
        status, out, err = run([LINTEL, 'call', server.endpoint, 'no such thing'])
        check('error reply', 'exit status and stdout', (1, b''), (status, out))
        check('error reply', 'the reason in ' + err, True, 'no such thing' in err)


def main(root):
    try_vectors(root)
    try_refused(root)
    for text, options in [('lintel', [])] + FOREIGN:
        try_lines(text, options)
    with tempfile.TemporaryDirectory() as folder:
        for text, options in [('lintel', [])] + FOREIGN:
            try_program_calls(folder, text, options, 'upper' if text == 'lintel' else 'echo')
            if os.environ.get('HAVE_UV') != 'no':
                for handler in ('echo', 'upper') if text == 'lintel' else ('echo',):
                    try_program_serves(folder, text, options, handler)
        if os.environ.get('HAVE_UV') != 'no':
            try_dialogues(folder, 'the program', [LINTEL, 'serve'], DIALOGUES)
        try_dialogues(folder, 'Python', PEER + ['serve'], DIALOGUES + MESSAGE_DIALOGUES)
        try_replies(folder)
    if os.environ.get('HAVE_UV') == 'no':
        print('serve is not in this build and was not tried')
    print('%d checks, %d failed' % (checks, len(failures)))
    return 1 if failures or not checks else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
