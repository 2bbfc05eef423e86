"""The program (LINTEL) and the reading in Python (peer.py) against each other."""

import json
import os
import subprocess
import sys
import tempfile

import lintel_peer as peer
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
    done = subprocess.run(command, input=data, capture_output=True, timeout=WATCHDOG)
    return done.returncode, done.stdout, done.stderr.decode(errors='replace')


class Server:
    """A server as a child, with the endpoint that it has printed."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)

    def __enter__(self):
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
        if os.path.exists(os.path.join(folder, 'socket')):
            os.remove(os.path.join(folder, 'socket'))
        with Server(PEER + ['serve', '-H', handler, '--layout', text, endpoint]) as server:
            for more in ([], ['--half-close']):
                status, out, err = run([LINTEL, 'call', '--layout', text] + options + more
                                       + [server.endpoint] + PAYLOADS)
                check(name, ' '.join([endpoint] + more), (0, want, ''), (status, out, err))
            status, out, err = run([LINTEL, 'call', '--raw', '--layout', text] + options
                                   + [server.endpoint, 'one', 'two'])
            check(name, '--raw', (0, printed('onetwo', handler == 'upper'), ''),
                  (status, out, err))
    if os.path.exists(os.path.join(folder, 'socket')):
        os.remove(os.path.join(folder, 'socket'))


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
                for handler in ('echo', 'upper'):
                    try_program_serves(folder, text, options, handler)
        try_replies(folder)
    if os.environ.get('HAVE_UV') == 'no':
        print('serve is not in this build and was not tried')
    print('%d checks, %d failed' % (checks, len(failures)))
    return 1 if failures or not checks else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
