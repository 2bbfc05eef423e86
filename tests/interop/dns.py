"""dig +tcp, a DNS server of one answer, a relay in between, and the program on what it captured."""

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading

LINTEL = os.environ['LINTEL']
NAMES = ['www.example.com', 'a.example.org', 'a-longer-name.of-several-labels.example.net']
WATCHDOG = 60

failed = 0


def expect(what, want, got):
    global failed
    if want == got:
        print('ok: ' + what)
    else:
        failed = 1
        print('FAIL: %s\n  want %r\n  got  %r' % (what, want, got))


def listener():
    sock = socket.create_server(('127.0.0.1', 0))
    return sock, sock.getsockname()[1]


def exactly(connection, size):
    data = b''
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            return None
        data += piece
    return data


def question(message):
    """The name that a message asks for, and the place behind the question."""
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    return '.'.join(labels), at + 5


def answer(query):
    """A reply with one address record, 192.0.2.1, to any query."""
    _, end = question(query)
    record = b'\xc0\x0c' + struct.pack('!HHIH', 1, 1, 60, 4) + bytes([192, 0, 2, 1])
    return query[:2] + struct.pack('!HHHHH', 0x8180, 1, 1, 0, 0) + query[12:end] + record


def serve(sock):
    while True:
        connection, _ = sock.accept()
        with connection:
            while True:
                head = exactly(connection, 2)
                if head is None:
                    break
                reply = answer(exactly(connection, int.from_bytes(head, 'big')))
                connection.sendall(struct.pack('!H', len(reply)) + reply)


def copy(source, target, capture):
    """One direction, a few bytes at a time."""
    try:
        while True:
            data = source.recv(7)
            capture.write(data)
            capture.flush()
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)
    except (OSError, ValueError):  # ValueError: the capture is closed, dig is done
        pass


def relay(sock, port, queries, replies):
    while True:
        near, _ = sock.accept()
        far = socket.create_connection(('127.0.0.1', port))
        threads = [threading.Thread(target=copy, args=(near, far, queries)),
                   threading.Thread(target=copy, args=(far, near, replies))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        near.close()
        far.close()


def decode(path, form='--json'):
    with open(path, 'rb') as capture:
        done = subprocess.run([LINTEL, 'decode', form, '--layout', 'dns'], stdin=capture,
                              capture_output=True, timeout=WATCHDOG)
    return done.returncode, done.stdout, done.stderr.decode()


def check_capture(path, what):
    """The messages of a capture, as the program sees them."""
    status, out, err = decode(path)
    expect('decode of the %s' % what, (0, ''), (status, err))
    frames = [json.loads(line) for line in out.decode().splitlines()]
    with open(path, 'rb') as capture:
        wire = capture.read()
    at = 0
    for frame in frames:
        expect('offset and length of a frame of the %s' % what,
               (at, int.from_bytes(wire[at:at + 2], 'big')), (frame['offset'], frame['length']))
        at += 2 + frame['length']
    expect('the whole capture of the %s is frames' % what, len(wire), at)
    status, out, err = decode(path, '--raw')
    expect('decode --raw of the %s' % what, ''.join(frame['payload'] for frame in frames), out.hex())
    status, out, err = decode(path, '--text')
    expect('decode --text of the %s' % what, 0, status)
    return [bytes.fromhex(frame['payload']) for frame in frames]


def check_cut(folder, path):
    with open(path, 'rb') as capture:
        wire = capture.read()
    cut = os.path.join(folder, 'cut')
    with open(cut, 'wb') as capture:
        capture.write(wire[:-1])
    status, out, err = decode(cut)
    expect('a cut capture fails', 1, status)
    expect('the frames before the cut are printed', len(NAMES) - 1, out.count(b'\n'))
    expect('one line says why', (True, 1), (err.startswith('lintel decode: '), err.count('\n')))


def main(folder):
    server, server_port = listener()
    middle, port = listener()
    paths = [os.path.join(folder, name) for name in ('queries', 'replies')]
    with open(paths[0], 'wb') as queries, open(paths[1], 'wb') as replies:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        threading.Thread(target=relay, args=(middle, server_port, queries, replies),
                         daemon=True).start()
        command = ['dig', '-r', '+short', '+tcp', '+keepopen', '+tries=1', '+time=30',
                   '@127.0.0.1', '-p', str(port)]
        for name in NAMES:
            command += [name, 'A']
        done = subprocess.run(command, capture_output=True, timeout=WATCHDOG)
    expect('dig has its answers', (0, ['192.0.2.1'] * len(NAMES)),
           (done.returncode, done.stdout.decode().split()))
    asked = check_capture(paths[0], 'queries')
    answered = check_capture(paths[1], 'replies')
    expect('the names that were asked for', NAMES, [question(message)[0] for message in asked])
    expect('the ids of queries and replies', [message[:2] for message in asked],
           [message[:2] for message in answered])
    check_cut(folder, paths[1])
    return failed


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as directory:
        sys.stdout.flush()
        status = main(directory)
    sys.stdout.flush()
    os._exit(status)
