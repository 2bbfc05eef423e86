"""Raw peers on both sides of `lintel proxy`: bytes, ends and resets, seen from both ends.

Run by test-proxy.sh with a kind, tcp or unix, in a folder that may be written to.
"""
import hashlib
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

LINTEL = os.environ['LINTEL']
KIND = sys.argv[1]
TIMEOUT = 60


def listener():
    if KIND == 'unix':
        made = socket.socket(socket.AF_UNIX)
        if os.path.exists('upstream'):
            os.unlink('upstream')
        made.bind('upstream')
        endpoint = 'unix://' + os.path.abspath('upstream')
    else:
        made = socket.socket()
        made.bind(('127.0.0.1', 0))
        endpoint = 'tcp://127.0.0.1:%d' % made.getsockname()[1]
    made.listen(64)
    made.settimeout(TIMEOUT)
    return made, endpoint


class Proxy:
    """A proxy that runs, and an upstream of ours."""

    def __init__(self, *options, upstream=None, limit=None):
        self.upstream, endpoint = listener()
        where = 'tcp://127.0.0.1:0' if KIND == 'tcp' else 'unix://' + os.path.abspath('listen')
        with open('told', 'wb') as told:
            self.process = subprocess.Popen(
                [LINTEL, 'proxy', *options, where, upstream or endpoint],
                stdout=subprocess.PIPE, stderr=told,
                preexec_fn=limit and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                 (limit, limit))))
        line = self.process.stdout.readline().decode()
        assert line.startswith('listening on '), line
        self.endpoint = line[len('listening on '):].strip()
        self.shown = []
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.shown.append(line.decode())

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(TIMEOUT)
        self.reader.join()
        self.process.stdout.close()
        self.upstream.close()
        with open('told', encoding='utf-8') as told:
            self.told = told.read().splitlines()
        if kind is None:
            assert status == 0, 'exit status %d: %s' % (status, self.told)
            assert not os.path.exists('listen'), 'the socket file is left'

    def client(self):
        if KIND == 'unix':
            made = socket.socket(socket.AF_UNIX)
            made.settimeout(TIMEOUT)
            made.connect(self.endpoint[len('unix://'):])
            return made
        host, port = self.endpoint[len('tcp://'):].rsplit(':', 1)
        return socket.create_connection((host, int(port)), TIMEOUT)

    def pair(self):
        client = self.client()
        server, _ = self.upstream.accept()
        server.settimeout(TIMEOUT)
        return client, server


def whole(sock):
    """All until the end."""
    got = bytearray()
    while piece := sock.recv(1 << 16):
        got += piece
    return bytes(got)


def exactly(sock, size):
    got = bytearray()
    while len(got) < size:
        piece = sock.recv(size - len(got))
        assert piece, 'ended after %d bytes of %d' % (len(got), size)
        got += piece
    return bytes(got)


def send_and_shut(sock, data):
    def run():
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    thread = threading.Thread(target=run)
    thread.start()
    return thread


def frame(payload, flags=0, kind=0, number=0):
    return struct.pack('!HBBIII', 0x4c54, 1, flags, kind, number, len(payload)) + payload


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


def both_ways(proxy, forth, back):
    """Both at once; each direction ends by itself."""
    client, server = proxy.pair()
    threads = [send_and_shut(client, forth), send_and_shut(server, back)]
    results = {}
    threads.append(threading.Thread(target=lambda: results.update(back=whole(client))))
    threads[-1].start()
    results['forth'] = whole(server)
    for thread in threads:
        thread.join()
    client.close()
    server.close()
    for name, wanted in (('forth', forth), ('back', back)):
        assert hashlib.sha256(results[name]).digest() == hashlib.sha256(wanted).digest(), \
            '%s: %d bytes of %d, or others' % (name, len(results[name]), len(wanted))


def scenario_bytes_pass_unchanged():
    rng = random.Random(1)
    frames = b''.join(frame(rng.randbytes(rng.choice((0, 1, 30, 5000)))) for _ in range(2000))
    large = frame(rng.randbytes(1000000), number=7) * 3
    garbage = rng.randbytes(2000000)
    for options in ((), ('--quiet',), ('--hex',), ('--split', '1000'), ('--layout', 'u32'),
                    ('--drop', '0'), ('--delay', '1', '--quiet'), ('--max-frame', '100')):
        with Proxy(*options) as proxy:
            both_ways(proxy, frames, large)
            both_ways(proxy, garbage, frames + garbage)
            both_ways(proxy, b'', frames[:-1])
    with Proxy('--split', '1') as proxy:
        both_ways(proxy, frames[:20000], garbage[:20000])


def scenario_half_close_in_either_order():
    with Proxy() as proxy:
        for first in (0, 1):
            pair = proxy.pair()
            one, other = pair[first], pair[1 - first]
            one.sendall(frame(b'first'))
            one.shutdown(socket.SHUT_WR)
            assert whole(other) == frame(b'first')
            other.sendall(frame(b'second') * 2)
            assert exactly(one, 44) == frame(b'second') * 2
            other.close()
            assert whole(one) == b''
            one.close()
    assert proxy.told == [], proxy.told
    lines = [line for line in proxy.shown if not line.startswith(('1 begin', '2 begin'))]
    assert lines == [
        '1 > #0 type 0 id 0 5 bytes "first"\n', '1 > end after 21 bytes\n',
        '1 < #0 type 0 id 0 6 bytes "second"\n', '1 < #22 type 0 id 0 6 bytes "second"\n',
        '1 < end after 44 bytes\n',
        '2 < #0 type 0 id 0 5 bytes "first"\n', '2 < end after 21 bytes\n',
        '2 > #0 type 0 id 0 6 bytes "second"\n', '2 > #22 type 0 id 0 6 bytes "second"\n',
        '2 > end after 44 bytes\n'], lines


def scenario_bytes_go_before_the_frame_is_whole():
    data = frame(b'x' * 100)
    with Proxy() as proxy:
        client, server = proxy.pair()
        for i in range(0, 50):
            client.sendall(data[i:i + 1])
            assert exactly(server, 1) == data[i:i + 1]
        client.close()
        assert whole(server) == b''
        server.close()
    assert [line.split(' > ')[1] for line in proxy.told] == [
        'frame at byte 0: the stream ended after 50 of 116 bytes; it is passed as it is'], proxy.told


def scenario_what_is_no_frame_is_said_once():
    good = frame(b'good')
    with Proxy() as proxy:
        both_ways(proxy, good + b'GET / HTTP/1.1\r\n\r\n' * 3, good + frame(b'', flags=0x40) + good)
    told = sorted(proxy.told)
    assert len(told) == 2, told
    assert told[0].startswith('lintel proxy: connection 1 < frame at byte 20: '), told
    assert told[1].startswith('lintel proxy: connection 1 > frame at byte 20: magic'), told
    assert all(line.endswith('; from there on bytes are passed as they are') for line in told), told
    assert sum('"good"' in line for line in proxy.shown) == 2, proxy.shown


def scenario_frames_over_the_limit_are_skipped():
    stream = frame(b'1') + frame(b'22222') + frame(b'3') + frame(b'44444') + b'oops' * 5
    for options in ((), ('--duplicate', '0.0000001')):
        with Proxy('--max-frame', '4', *options) as proxy:
            both_ways(proxy, stream, b'')
        assert [line.split(': ', 2)[2] for line in proxy.told] == [
            'length 5 exceeds the limit of 4; it is passed as it is',
            proxy.told[1].split(': ', 2)[2]], proxy.told
        assert 'frame at byte 17: ' in proxy.told[0], proxy.told
        assert 'frame at byte 76: magic' in proxy.told[1], proxy.told
        shown = [line for line in proxy.shown if 'type' in line]
        assert shown == ['1 > #0 type 0 id 0 1 byte "1"\n', '1 > #38 type 0 id 0 1 byte "3"\n'], shown


def scenario_resets_are_passed_on():
    with Proxy() as proxy:
        for first in (0, 1):
            pair = proxy.pair()
            one, other = pair[first], pair[1 - first]
            one.sendall(frame(b'before'))
            assert exactly(other, 22) == frame(b'before')
            if KIND == 'unix':  # its way to reset: closing with something unread
                other.sendall(b'x')
                one.recv(1, socket.MSG_PEEK)
            reset(one)
            try:
                assert other.recv(1) == b'' and KIND == 'unix'
            except ConnectionResetError:
                pass
            other.close()
    assert sum(' reset after 22 bytes' in line for line in proxy.shown) == 2, proxy.shown


def scenario_a_peer_that_is_gone_is_noticed():
    """It closes with input that it did not read; what it said before still arrives."""
    with Proxy() as proxy:
        client, server = proxy.pair()
        server.sendall(frame(b'last words'))
        exactly(client, 26)
        server.close()
        assert whole(client) == b''
        try:
            for _ in range(10000):
                client.sendall(b'x' * 65536)
            raise AssertionError('nobody reads, and all is taken')
        except (ConnectionResetError, BrokenPipeError):
            pass
        client.close()


def scenario_memory_stays_within_bounds():
    """A side that reads nothing stops the other, after the watermark and the system's buffers."""
    with Proxy('--quiet') as proxy:
        client, server = proxy.pair()
        client.settimeout(1)
        sent = 0
        try:
            while sent < 200 << 20:
                sent += client.send(frame(b'y' * 65536))
        except socket.timeout:
            pass
        assert sent < 100 << 20, 'it took %d bytes' % sent
        with open('/proc/%d/status' % proxy.process.pid, encoding='ascii') as status:
            used = [int(line.split()[1]) for line in status if line.startswith('VmRSS')][0]
        if os.environ.get('INSTRUMENTED') != 'yes':
            assert used < 40 << 10, 'it uses %d KiB' % used
        # Another connection goes on, and so does this one when it is read.
        other, far = proxy.pair()
        other.sendall(frame(b'by the way'))
        assert exactly(far, 26) == frame(b'by the way')
        client.settimeout(TIMEOUT)
        client.shutdown(socket.SHUT_WR)
        got = 0
        while piece := server.recv(1 << 20):
            got += len(piece)
        assert got == sent, '%d bytes came of %d' % (got, sent)
        for sock in (client, server, other, far):
            sock.close()


def scenario_many_at_once():
    with Proxy('--split', '5') as proxy:
        pairs = [proxy.pair() for _ in range(200)]
        for i, (client, _) in enumerate(pairs):
            client.sendall(frame(b'%d' % i))
        # They need not arrive upstream in the order of the clients.
        seen = set()
        for _, server in pairs:
            head = exactly(server, 16)
            text = exactly(server, struct.unpack('!I', head[12:])[0])
            seen.add(int(text))
            server.sendall(head + text)
        for i, (client, _) in enumerate(pairs):
            assert exactly(client, len(frame(b'%d' % i))) == frame(b'%d' % i)
        assert seen == set(range(200))
        for client, server in pairs:
            client.close()
            server.close()


def scenario_an_upstream_that_is_not_there():
    nobody = 'tcp://127.0.0.1:1' if KIND == 'tcp' else 'unix:///nonexistent/socket'
    with Proxy(upstream=nobody) as proxy:
        for _ in range(2):
            try:
                with proxy.client() as client:
                    assert client.recv(1) == b'' and KIND == 'unix'
            except ConnectionResetError:
                pass
    assert len(proxy.told) == 2, proxy.told
    assert proxy.told[0].startswith('lintel proxy: connection 1: connect to '), proxy.told


def scenario_a_signal_resets_what_goes_on():
    with Proxy() as proxy:
        client, server = proxy.pair()
        client.sendall(frame(b'x'))
        exactly(server, 17)
    for sock in (client, server):
        try:
            assert sock.recv(1) == b'' and KIND == 'unix'
        except ConnectionResetError:
            pass
        sock.close()


def scenario_a_signal_waits_for_what_is_ending():
    """Not for ever: of one side the end came, the other says nothing."""
    with Proxy() as proxy:
        client, server = proxy.pair()
        server.shutdown(socket.SHUT_WR)
        assert whole(client) == b''
    client.close()
    server.close()


def scenario_descriptors_do_not_leak():
    def count():
        return len(os.listdir('/proc/%d/fd' % proxy.process.pid))
    with Proxy('--reset', '0.5', '--half-close', '0.5', '--seed', '3', '--quiet') as proxy:
        before = count()
        for i in range(50):
            client, server = proxy.pair()
            try:
                client.sendall(frame(b'x') * 3)
                client.shutdown(socket.SHUT_WR)
                whole(server)
                if i % 2:
                    server.sendall(frame(b'x'))
                server.close()
                whole(client)
            except OSError:
                pass
            client.close()
            server.close()
        given_up = time.monotonic() + TIMEOUT
        while count() != before and time.monotonic() < given_up:
            pass
        assert count() == before, '%d descriptors, %d before' % (count(), before)


def scenario_a_reset_cuts_at_its_frame():
    """Frames before it arrive, on both sides it is a reset."""
    with Proxy('--reset', '0.2', '--seed', '5') as proxy:
        for _ in range(10):
            client, server = proxy.pair()
            got = b''
            try:
                client.sendall(b''.join(frame(b'%d' % (i % 10)) for i in range(100)))
                while piece := server.recv(65536):
                    got += piece
            except (ConnectionResetError, BrokenPipeError):
                pass
            assert len(got) % 17 == 0, '%d bytes came' % len(got)
            assert got == b''.join(frame(b'%d' % (i % 10)) for i in range(100))[:len(got)]
            try:
                assert client.recv(1) == b'' and KIND == 'unix'
            except ConnectionResetError:
                pass
            client.close()
            server.close()
    told = [line for line in proxy.told if line.endswith(': reset')]
    assert len(told) == 10, proxy.told


def scenario_a_half_close_discards_the_rest():
    with Proxy('--half-close', '1') as proxy:
        client, server = proxy.pair()
        client.sendall(frame(b'one') + frame(b'two'))
        assert whole(server) == frame(b'one')
        client.sendall(frame(b'z' * 100000) * 100)
        server.sendall(frame(b'back'))
        assert whole(client) == frame(b'back')
        client.close()
        server.close()
    assert proxy.told == ['lintel proxy: connection 1 > frame at byte 0: half-closed after it',
                          'lintel proxy: connection 1 < frame at byte 0: half-closed after it']


def scenario_a_delay_keeps_the_order():
    """A delayed connection holds nobody up: the end of an empty one, not a clock, is the witness."""
    frames = b''.join(frame(b'%d' % i) for i in range(300))
    with Proxy('--delay', '3') as proxy:
        both_ways(proxy, frames, frames)
        both_ways(proxy, frames + b'garbage' * 10, b'')


def scenario_a_delay_delays():
    with Proxy('--delay', '40') as proxy:
        client, server = proxy.pair()
        began = time.monotonic()
        client.sendall(frame(b'late'))
        exactly(server, 20)
        assert time.monotonic() - began > 0.038
        client.close()
        server.close()


def scenario_splits_are_writes():
    """A socket of packets shows each write."""
    given, client = socket.socketpair(socket.AF_UNIX)
    upstream, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.settimeout(TIMEOUT)
    with subprocess.Popen(
            [LINTEL, 'proxy', '--split', '5', 'fd://%d' % given.fileno(),
             'fd://%d' % upstream.fileno()], stdout=subprocess.DEVNULL,
            pass_fds=(given.fileno(), upstream.fileno())) as process:
        given.close()
        upstream.close()
        client.sendall(frame(b'twelve bytes'))
        got = [server.recv(100) for _ in range(6)]
        assert [len(piece) for piece in got] == [5, 5, 5, 5, 5, 3], got
        assert b''.join(got) == frame(b'twelve bytes')
        server.close()
        client.close()
        assert process.wait(TIMEOUT) == 0


def scenario_each_direction_has_its_own_faults():
    def told():
        with Proxy('--corrupt', '0.3', '--seed', '1') as proxy:
            for _ in range(2):
                client, server = proxy.pair()
                threads = [send_and_shut(client, frames), send_and_shut(server, frames)]
                assert len(whole(client)) == len(whole(server)) == len(frames)
                for thread in threads:
                    thread.join()
                client.close()
                server.close()
        return sorted(proxy.told)
    frames = frame(b'payload') * 200
    first = told()
    assert first == told()
    flows = {}
    for line in first:
        who, what = line.split(' frame at byte ')
        flows.setdefault(who, []).append(what)
    assert len(flows) == 4 and len(set(map(tuple, flows.values()))) == 4, flows


def scenario_out_of_descriptors_others_wait():
    with Proxy(limit=16) as proxy:
        clients = [proxy.client() for _ in range(12)]
        for client in clients:
            client.sendall(frame(b'x'))
            client.shutdown(socket.SHUT_WR)
        for _ in clients:
            server, _ = proxy.upstream.accept()
            server.settimeout(TIMEOUT)
            exactly(server, 17)
            server.close()
        for client in clients:
            client.close()
    assert proxy.told and all('cannot take a connection: ' in line for line in proxy.told), proxy.told


def scenario_sealed_sessions_are_known():
    """With any layout; records whole, `mac` text marked, of `encrypt` the size."""
    answer = frame(b'\xa5' * 48, flags=8, kind=1)
    record = frame(b'hello, text' + b'\x11' * 16, flags=8, kind=5)
    last = frame(b'\x22' * 16, flags=8, kind=5, number=1)
    for mode, length in ((1, 51), (2, 99)):
        hello = frame(bytes((1 if length == 51 else 2, 1, mode)) + b'\x5a' * (length - 3),
                      flags=8, kind=1)
        for layout in ('lintel', 'u32', 'postgres', '!B:length *'):
            with Proxy('--layout', layout, '--max-frame', '20') as proxy:
                both_ways(proxy, hello + record + last, answer + record + last)
            assert proxy.told == [], proxy.told
            forth = [line.strip() for line in proxy.shown if line.startswith('1 > #')]
            at = 16 + length
            assert forth[0].startswith('1 > #0 HELLO id 0 %d bytes ' % length), forth
            assert forth[1] == '1 > #%d SEALED id 0 27 bytes %s' % (
                at, 'not verified "hello, text"' if mode == 1 else 'sealed'), forth
            assert forth[2] == '1 > #%d SEALED id 1 16 bytes %s' % (
                at + 43, 'not verified ""' if mode == 1 else 'sealed'), forth
            back = [line.strip() for line in proxy.shown if line.startswith('1 < #')]
            assert len(back) == 3, back
        # Faults meet records as any frame.
        with Proxy('--layout', 'u32', '--drop', '1') as proxy:
            client, server = proxy.pair()
            client.sendall(hello + record)
            client.shutdown(socket.SHUT_WR)
            assert whole(server) == b''
            client.close()
            server.close()
        assert len(proxy.told) == 2, proxy.told
    # What only begins like one is the layout's.
    with Proxy('--layout', '!H:kind B:length *') as proxy:
        both_ways(proxy, b'LT\x01\x08', b'LT\x02\x08\x00LT\x00')
    assert '1 > #0 kind 19540 1 byte "\\x08"\n' in proxy.shown, proxy.shown
    assert '1 < #0 kind 19540 2 bytes "\\x08\\x00"\n' in proxy.shown, proxy.shown


def main():
    for name, function in list(globals().items()):
        if name.startswith('scenario_'):
            try:
                function()
            except BaseException:
                print('FAILED: %s, %s' % (name[len('scenario_'):].replace('_', ' '), KIND),
                      file=sys.stderr)
                raise


main()
