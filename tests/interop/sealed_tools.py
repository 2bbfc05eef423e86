"""The program (LINTEL) and the independent reading of proto/sealed.md, in both roles, over sockets.

    sealed_tools.py             sessions as they should be
    sealed_tools.py hostile     the reading as a peer, or someone on the path, that means ill
"""

import os
import sys
import tempfile
import threading

try:
    import lintel_seal as seal
except ImportError:
    print('python3-cryptography is missing')
    sys.exit(77)

import interop
from interop import LINTEL, bye, check, frame
from sealed_line import Program, Responder, Ring, open_line

HAVE_UV = os.environ.get('HAVE_UV') != 'no'
MODES = sorted(seal.MODES)
PAYLOADS = ['hello', '', 'two words', 'x' * 40000]
LARGE = bytes(range(251)) * 12000


def wheres(folder):
    return interop.endpoints(folder)


def combinations(folder):
    for where in wheres(folder):
        for kind in Ring.KINDS:
            for mode in MODES:
                yield where, kind, mode


# ---- the reading connects --------------------------------------------------------------------

def requests(payloads):
    return b''.join(frame(0, 7, number, payload) for number, payload in enumerate(payloads, 1))


def replies(payloads):
    return b''.join(frame(1, 7, number, payload.upper()) for number, payload in enumerate(payloads, 1))


FEW = [b'one', b'', b'three']
FRAGMENTS = [b'a' * 70000, b'', b'bcd', b'e' * 5]


def fragmented(number):
    return b''.join(frame(4, 7, number, part) for part in FRAGMENTS) + frame(0, 7, number, b'!')


# Inner bytes, how they are cut, and all inner bytes that an upper-casing server answers with.
CONVERSATIONS = [
    ('nothing', b'', seal.PIECE_MAX, b''),
    ('requests in one record', requests(FEW), seal.PIECE_MAX, replies(FEW)),
    ('a record a byte', requests(FEW), 1, replies(FEW)),
    ('records of 7 bytes', requests(FEW), 7, replies(FEW)),
    ('fragments', fragmented(1), 30000, frame(1, 7, 1, b''.join(FRAGMENTS).upper() + b'!')),
    ('a PING', frame(8, 2, 3, b'?') + requests(FEW), 20, frame(8, 3, 3, b'?') + replies(FEW)),
    ('a BYE behind requests', requests(FEW) + bye(0), 40, replies(FEW)),
]
# Of the dialogues of a plain session these end otherwise: a cut is not answered, and what belongs
# to the seal is ill-formed inside.
SEALED_ENDS = {'HELLO': bye(4), 'SEALED': bye(4), 'the end in a frame': None, 'the end between fragments': None}


def converse(endpoint, keys, inner, cut=seal.PIECE_MAX):
    line = open_line(endpoint, keys)
    line.greet()
    sender = threading.Thread(target=line.say, args=(inner, True, cut))
    sender.start()
    heard = line.hear()
    sender.join()
    line.close()
    return heard


def try_serve(ring, where, kind, mode):
    name = 'serve, %s, %s, %s' % (where, kind, mode)
    with Program([LINTEL, 'serve', '-H', 'upper'] + ring.listens(mode) + [where], 0) as server:
        keys = ring.initiator(kind, mode)
        for what, inner, cut, want in CONVERSATIONS:
            inner, end = converse(server.endpoint, keys, inner, cut)
            check(name, what, (want.hex(), 'LINTEL_E_END'), (inner.hex(), end))
        inner, end = converse(server.endpoint, keys, frame(0, 7, 1, LARGE))
        check(name, '3 MB', (True, 'LINTEL_E_END'), (inner == frame(1, 7, 1, LARGE.upper()), end))
        try_drain(name, server, keys)
        check(name, 'what it says', (0, b'', ''), (server.status, server.out, server.err))


def try_drain(name, server, keys):
    """Open connections hear an inner BYE in the server's last record."""
    line = open_line(server.endpoint, keys)
    line.greet()
    line.say(requests([b'before']))
    check(name, 'before the drain', [b'BEFORE'], [item.payload for item in line.hear_frames(1)])
    server.process.terminate()
    check(name, 'the drain', (bye(1, 1).hex(), 'LINTEL_E_END'), (lambda heard: (heard[0].hex(), heard[1]))(drained(line)))
    server.end()


def drained(line):
    heard = [line.take()]
    line.say(b'', True)
    while heard[-1] and heard[-1][0] != 'last':
        heard.append(line.take())
    line.rest()
    line.close()
    return b''.join(item[1] for item in heard if item), line.session.end(0)


def try_dialogues(ring, where):
    """What a plain session answers, a sealed one answers inside."""
    for mode in MODES:
        with Program([LINTEL, 'serve'] + ring.listens(mode) + [where], 0) as server:
            for name, sent, want in interop.DIALOGUES + interop.MESSAGE_DIALOGUES:
                want = SEALED_ENDS.get(name, want)
                inner, end = converse(server.endpoint, ring.initiator('psk', mode), sent)
                whole = (want.hex(), 'LINTEL_E_END') if want is not None else (b''.hex(), 'LINTEL_E_TRUNCATED')
                if want is None:
                    inner = inner.replace(frame(1, 7, 1, b'a'), b'')
                check('a sealed dialogue: ' + name, where + ' ' + mode, whole, (inner.hex(), end))


def try_recv(ring, where, kind, mode):
    name = 'recv, %s, %s, %s' % (where, kind, mode)
    with Program([LINTEL, 'recv', '--raw', '--count', '8'] + ring.listens(mode) + [where], 1) as program:
        keys = ring.initiator(kind, mode)
        for cut, last in ((seal.PIECE_MAX, b''), (5, bye(0))):
            inner, end = converse(program.endpoint, keys, requests(FEW) + frame(8, 2, 3, b'?') + last, cut)
            check(name, 'records of %d' % cut, (frame(8, 3, 3, b'?').hex(), 'LINTEL_E_END'), (inner.hex(), end))
        converse(program.endpoint, keys, frame(0, 7, 0, b'x' * 1000) + frame(0, 7, 0, LARGE))
        program.end(tell=False)
        check(name, 'what it shows', (0, '', True),
              (program.status, program.err, program.out == b'onethree' * 2 + b'x' * 1000 + LARGE))


# ---- the program connects --------------------------------------------------------------------

def answer(line, cut=seal.PIECE_MAX, upper=bytes.upper, last=b''):
    """Serve to the end of the peer's side; returns the requests' payloads."""
    line.greet()
    line.take_zero = line.take()
    whole = line.take_zero[1]
    kind = line.take_zero[0]
    while kind != 'last':
        item = line.take()
        if item is None:
            return 'no last record'
        kind, whole = item[0], whole + item[1]
    asked = frames_in(whole)
    out = b''.join(frame(1, item.values['type'], item.values['id'], upper(bytes(item.payload)))
                   for item in asked if item.values['id'])
    line.say(out + last, True, cut)
    line.rest()
    return [bytes(item.payload) for item in asked if item.values['flags'] != 8]


def frames_in(inner):
    decoder = interop.peer.Decoder(interop.peer.layout_of('lintel'))
    decoder.feed(inner)
    decoder.end()
    frames = []
    while item := decoder.next():
        frames.append(item)
    return frames


def one_by_one(line):
    """Answer each request at once, as a server does whose client waits; to the inner BYE or the end."""
    line.greet()
    decoder = interop.peer.Decoder(interop.peer.layout_of('lintel'))
    asked, kind = [], ''
    while kind != 'last':
        item = line.take()
        if item is None:
            return 'no last record'
        kind = item[0]
        decoder.feed(item[1])
        while got := decoder.next():
            if got.values['flags'] == 8:
                continue
            asked.append(bytes(got.payload))
            line.say(frame(1, 7, got.values['id'], got.payload.upper()), cut=9)
    line.say(b'', True)
    line.rest()
    return asked


def try_call(ring, where, kind, mode):
    name = 'call and send, %s, %s, %s' % (where, kind, mode)
    keys, options = ring.responder(kind, mode), ring.connects(kind, mode)
    asked = [item.encode() for item in PAYLOADS]
    for cut in (seal.PIECE_MAX, 3000):
        with Responder(where, keys, lambda line: answer(line, cut)) as server:
            got = interop.run([LINTEL, 'call', '--half-close'] + options + [server.endpoint] + PAYLOADS)
        check(name, 'call --half-close', (0, b''.join(item.upper() + b'\n' for item in asked), ''), got)
        check(name, 'what was asked', asked, server.result)
    with Responder(where, keys, one_by_one) as server:
        got = interop.run([LINTEL, 'call'] + options + [server.endpoint] + PAYLOADS)
    check(name, 'call', (0, b''.join(item.upper() + b'\n' for item in asked), ''), got)
    check(name, 'what was asked', asked, server.result)
    with Responder(where, keys, answer) as server:
        got = interop.run([LINTEL, 'send'] + options + [server.endpoint, '-', 'end'], LARGE)
    check(name, 'send', (0, b'', ''), got)
    check(name, 'what was sent', LARGE + b'end', b''.join(server.result))
    with Responder(where, keys, one_by_one) as server:
        got = interop.run([LINTEL, 'connect'] + options + [server.endpoint], b'one\ntwo\nquit\n')
    check(name, 'connect', (0, b'ONE\nTWO\n', ''), got)
    check(name, 'what was asked', [b'one', b'two'], server.result)
    try_bye(name, ring, where, kind, mode)


def try_bye(name, ring, where, kind, mode):
    """A BYE inside is an authenticated one, and shown so."""
    keys, options = ring.responder(kind, mode), ring.connects(kind, mode)
    for reason, words in ((1, 'the peer said BYE 1'), (8, 'the peer said BYE 8')):
        with Responder(where, keys, lambda line: answer(line, last=bye(reason, 2))) as server:
            status, out, err = interop.run([LINTEL, 'send'] + options + [server.endpoint, 'x'])
        check(name, 'an inner BYE %d' % reason, (1, b'', True, False),
              (status, out, words in err, 'unauthenticated' in err))


def main():
    with tempfile.TemporaryDirectory() as folder:
        ring = Ring(folder)
        for where, kind, mode in combinations(folder):
            if HAVE_UV:
                try_serve(ring, where, kind, mode)
            try_recv(ring, where, kind, mode)
            try_call(ring, where, kind, mode)
        if HAVE_UV:
            try_dialogues(ring, wheres(folder)[1])
    return interop_result()


def interop_result():
    if not HAVE_UV:
        print('serve is not in this build and was not tried')
    print('%d checks, %d failed' % (interop.checks, len(interop.failures)))
    return 1 if interop.failures or not interop.checks else 0


if __name__ == '__main__':
    if sys.argv[1:] == ['hostile']:
        import sealed_hostile
        sys.exit(sealed_hostile.main())
    sys.exit(main())
