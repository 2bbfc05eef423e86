"""Peers that mean ill, and someone on the path, against the program's sealed sessions, in both roles."""

import tempfile

import interop
import lintel_seal as seal
from interop import LINTEL, bye, check, frame
from sealed_line import Program, Responder, Ring, open_line
from sealed_tools import HAVE_UV, interop_result, wheres

SAID = 'the peer said, unauthenticated: '
TOGETHER = 12
PATTERNS = {'psk': seal.NNPSK0, 'ik': seal.IK}
# Of the bits of a message each so many: all of them are in tests/test_seal.c.
BITS = 13
GOOD = frame(0, 7, 0, b'good')
REFUSED = bye(6)
REASONS = {0: 'done', 1: 'it is being stopped', 6: 'not authenticated'}


def flipped(wire, bit):
    changed = bytearray(wire)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def plain(kind, ident=0, payload=b'', flags=8):
    return frame(flags, kind, ident, payload)


# ---- against those who accept ----------------------------------------------------------------

class Case:
    """What is played to serve and recv; what must come back behind the answer, and what be said."""

    def __init__(self, name, play, wire, text, delivered=b'', keys=None):
        self.name = name
        self.play = play
        self.wire = wire
        self.text = text
        self.delivered = delivered
        self.keys = keys


def opened(line, inner=GOOD):
    """The handshake is done: a good frame in record 0."""
    line.greet()
    line.say(inner)


def after(play, inner=GOOD):
    """A case that begins behind record 0."""
    def run(line):
        opened(line, inner)
        line.raw(play(line))
    return run


def before(play):
    """A case that begins behind the answer."""
    def run(line):
        line.greet()
        line.raw(play(line))
    return run


def first(change):
    """The first message, changed."""
    def run(line):
        line.raw(change(line.session.hello()))
    return run


def keys_cases(kind, mode):
    words = {'psk': 'fits no shared key', 'ik': 'not on the list'}
    other = Ring.initiator(kind, mode, shared='other', own='stranger')
    yield Case('another key', lambda line: line.raw(line.session.hello()), REFUSED, words[kind], keys=other)
    if kind == 'ik':
        wrong = Ring.initiator(kind, mode, server='stranger')
        yield Case("another server's key", lambda line: line.raw(line.session.hello()), REFUSED, 'does not verify', keys=wrong)
    downgraded = Ring.initiator(kind, 'mac' if mode == 'encrypt' else 'encrypt')
    yield Case('the other mode', lambda line: line.raw(line.session.hello()), REFUSED, 'the other mode', keys=downgraded)


def first_cases(size):
    for bit in range(0, 8 * (16 + size), BITS):
        yield Case('bit %d of the first message' % bit, first(lambda wire, bit=bit: flipped(wire, bit)), REFUSED, '')
    for cut in (1, 15, 16, 17, 16 + size - 1):
        yield Case('%d bytes of the first message' % cut, first(lambda wire, cut=cut: wire[:cut]), b'',
                   'the stream ended inside the handshake')
    for what, wire, text in (('request', GOOD, 'not the beginning'), ('PING', plain(2), 'a plain frame'),
                             ('SEALED', plain(5, 0, bytes(16)), '')):
        yield Case('a plain %s at first' % what, lambda line, wire=wire: line.raw(wire), REFUSED, text)
    for reason, text in REASONS.items():
        yield Case('a plain BYE %d at first' % reason, lambda line, reason=reason: line.raw(bye(reason)), b'', SAID + text)


def zero_cases():
    # Behind the header the length is 100 + 16: what is flipped to more is waited for in vain.
    for bit in range(0, 8 * 132, BITS):
        longer = bit // 8 == 14 or (bit // 8 == 15 and not 116 & (1 << bit % 8))
        yield Case('bit %d of record 0' % bit, before(lambda line, bit=bit: flipped(line.records(b'x' * 100), bit)),
                   b'' if longer else REFUSED, 'inside the handshake' if longer else '')
    for cut in (1, 16, 40):
        yield Case('%d bytes of record 0' % cut, before(lambda line, cut=cut: line.records(GOOD)[:cut]), b'',
                   'the stream ended inside the handshake')
    yield Case('record 1 first', before(lambda line: line.records(GOOD) and line.records(GOOD)), REFUSED, 'does not verify')
    yield Case('its own answer', before(lambda line: line.got), REFUSED, '')
    yield Case('a plain PING for record 0', before(lambda line: plain(2)), REFUSED, 'a plain frame')
    yield Case('a plain request for record 0', before(lambda line: GOOD), REFUSED, 'not a record')
    for reason, text in REASONS.items():
        yield Case('a plain BYE %d for record 0' % reason, before(lambda line, reason=reason: bye(reason)), b'', SAID + text)


def record_cases():
    for bit in range(0, 8 * (32 + len(GOOD)), BITS):
        longer = bit // 8 == 14 or (bit // 8 == 15 and not (16 + len(GOOD)) & (1 << bit % 8))
        yield Case('bit %d of record 1' % bit, after(lambda line, bit=bit: flipped(line.records(GOOD), bit)), b'',
                   'inside a record' if longer else '', b'good')
    for cut in (1, 15, 16, 17, 40):
        yield Case('%d bytes of record 1' % cut, after(lambda line, cut=cut: line.records(GOOD)[:cut]), b'',
                   'the stream ended inside a record', b'good')
    yield Case('no last record', after(lambda line: b''), b'', 'without a last record', b'good')
    yield Case('half a frame in the last record', after(lambda line: line.records(GOOD[:-1], True)), b'', 'ended', b'good')
    for reason in REASONS:
        yield Case('a plain BYE %d in the session' % reason, after(lambda line, reason=reason: bye(reason)), b'',
                   'a plain frame in a sealed session', b'good')
    for what, wire, text in (('request', GOOD, 'not a record'), ('PING', plain(2), 'a plain frame'),
                             ('HELLO', plain(1, 0, bytes(51)), 'a plain frame')):
        yield Case('a plain %s in the session' % what, after(lambda line, wire=wire: wire), b'', text, b'good')
    yield Case('an empty record', after(lambda line: plain(5, 0, line.session.ciphers[1].seal(plain(5, 0, bytes(16))[:16], b''))),
               b'', 'an empty record', b'good')
    yield Case('a record twice', after(lambda line: line.records(GOOD) * 2), b'', 'does not verify', b'goodgood')
    yield Case('a record left out', after(lambda line: line.records(GOOD) and line.records(GOOD)), b'', 'does not verify', b'good')
    yield Case('two records changed round', after(lambda line: (lambda one: line.records(GOOD) + one)(line.records(GOOD))),
               b'', 'does not verify', b'good')
    yield Case('bytes behind the last record', after(lambda line: line.records(GOOD, True) + b'x'), b'',
               'bytes behind the last record', b'goodgood')
    yield Case('a record behind the last one', after(lambda line: (lambda one: line.records(b'', True) + one)(line.records(GOOD))),
               b'', '', b'good')


def all_cases(kind, mode):
    yield from keys_cases(kind, mode)
    yield from first_cases(seal.FIRST[PATTERNS[kind]])
    yield from zero_cases()
    yield from record_cases()


def without_answer(line):
    """What came behind the answer, as it is."""
    return line.got[64:] if line.got[:16] == plain(1, 0, bytes(48))[:16] else line.got


def play(endpoint, keys, act):
    line = open_line(endpoint, keys)
    act(line)
    line.shut()
    line.rest()
    line.close()
    return line


def try_accepting(ring, where, kind, mode, command, says_on):
    cases = list(all_cases(kind, mode))
    # So few for one process that serve does not leave lines out.
    for at in range(0, len(cases), TOGETHER):
        try_cases(ring, where, kind, mode, command, says_on, cases[at:at + TOGETHER])
    with Program([LINTEL] + command + ring.listens(mode) + [where], says_on) as program:
        try_replay('%s, %s, %s, %s' % (command[0], where, kind, mode), ring, program, kind, mode)
        program.end()
        check(command[0], 'what is delivered of replays', shown(command, b'the recorded onespliced'), program.out)


def shown(command, delivered):
    return delivered if command[0] == 'recv' else b''


def try_cases(ring, where, kind, mode, command, says_on, cases):
    """Each by itself, with one process for all; then what all of them left."""
    name = '%s, %s, %s, %s' % (command[0], where, kind, mode)
    with Program([LINTEL] + command + ring.listens(mode) + [where], says_on) as program:
        for case in cases:
            seen = len(program.said(1))
            line = play(program.endpoint, case.keys or ring.initiator(kind, mode), case.play)
            check(name, case.name, case.wire.hex(), without_answer(line).hex())
            program.wait_for_more(seen)
            text = program.said(1)[seen:].decode()
            check(name, case.name + ': a line of ' + text, (True, 1), (case.text in text, text.count('\n')))
            if SAID not in case.text:
                check(name, case.name + ': no word of the peer in ' + text, False, SAID in text)
        program.end()
        check(name, 'exit status', 0 if command[0] == 'serve' else 1, program.status)
        check(name, 'what was delivered', shown(command, b''.join(case.delivered for case in cases)), program.out)


def try_replay(name, ring, program, kind, mode):
    """A session that somebody has recorded, played again; and a record of it in another session."""
    keys = ring.initiator(kind, mode)

    def whole(line):
        opened(line, frame(0, 7, 0, b'the recorded one'))
        line.say(b'', True)

    recorded = play(program.endpoint, keys, whole)
    for step in (len(recorded.sent), 51, 1):
        again = play(program.endpoint, keys, lambda line: [
            line.raw(recorded.sent[at:at + step]) for at in range(0, len(recorded.sent), step)])
        check(name, 'a session again, %d bytes a write' % step, REFUSED.hex(), without_answer(again).hex())
    one = open_line(program.endpoint, keys)
    opened(one, frame(0, 7, 0, b'spliced'))
    splice = one.records(GOOD)
    other = play(program.endpoint, keys, lambda line: (line.greet(), line.raw(one.sent[len(one.sent) - 32 - 23:])))
    check(name, "another session's record 0", REFUSED.hex(), without_answer(other).hex())
    two = play(program.endpoint, keys, after(lambda line: splice, b''))
    check(name, "another session's record 1", b''.hex(), without_answer(two).hex())
    one.say(b'', True)
    one.rest()
    one.close()


def try_exec(ring, where, kind, mode):
    """No handler hears of what was replayed, and the server says nothing on its output."""
    log = ring.path('log')
    open(log, 'wb').close()
    with Program([LINTEL, 'serve', '-H', 'exec:tee -a ' + log] + ring.listens(mode) + [where], 0) as program:
        keys = ring.initiator(kind, mode)

        def whole(line):
            line.greet()
            line.say(frame(0, 7, 1, b'asked once\n'), True)
            check('exec', 'its reply', (frame(1, 7, 1, b'asked once\n'), 'LINTEL_E_END'), line.hear())

        recorded = play(program.endpoint, keys, whole)
        for _ in range(3):
            again = play(program.endpoint, keys, lambda line: line.raw(recorded.sent))
            check('exec', 'a session again', REFUSED.hex(), without_answer(again).hex())
        program.end()
        check('exec', 'exit status and output', (0, b''), (program.status, program.out))
    with open(log, 'rb') as file:
        check('exec', 'what its handler was asked', b'asked once\n', file.read())


def try_slow(ring, where, kind, mode):
    with Program([LINTEL, 'serve', '--handshake-timeout', '0.1'] + ring.listens(mode) + [where], 0) as program:
        keys = ring.initiator(kind, mode)
        for name, act in (('silence', lambda line: None), ('half a message', lambda line: line.raw(line.session.hello()[:30])),
                          ('no record 0', lambda line: line.greet())):
            seen = len(program.said(1))
            line = open_line(program.endpoint, keys)
            act(line)
            line.rest()
            line.close()
            program.wait_for_more(seen)
            check('a slow handshake, ' + where, name, bye(3).hex(), without_answer(line).hex())
        program.end()
        check('a slow handshake', 'lines', 3, program.err.count('\n'))


# ---- against those who connect ---------------------------------------------------------------

def greeted(play):
    """A case that begins behind the answer, with record 0 read."""
    def run(line):
        line.greet()
        line.take()
        line.raw(play(line))
    return run


REPLY = frame(1, 7, 1, b'reply')


def answer_cases():
    for bit in range(0, 8 * 64, BITS):
        def change(line, bit=bit):
            line.take()
            line.raw(flipped(line.session.hello(), bit))
        # Of the length, 48, more bits make one that no answer has; it is judged before the body.
        yield 'bit %d of the answer' % bit, change, '', REFUSED
    for what, wire in (('a plain reply', REPLY), ('a plain PING', plain(2)), ('a record', plain(5, 0, bytes(16))),
                       ('a first message', plain(1, 0, bytes(51)))):
        yield what + ' for the answer', lambda line, wire=wire: (line.take(), line.raw(wire)), '', REFUSED
    yield 'its own message for the answer', lambda line: (line.take(), line.raw(line.got)), '', REFUSED
    for reason, text in list(REASONS.items()) + [(3, 'too slow'), (7, 'too many connections')]:
        yield ('a plain BYE %d for the answer' % reason, lambda line, reason=reason: (line.take(), line.raw(bye(reason))),
               SAID + text, b'')
    yield 'half an answer', lambda line: (line.take(), line.raw(line.session.hello()[:40])), 'inside the handshake', b''
    yield 'the end for an answer', lambda line: line.take(), 'inside the handshake', b''


def reply_cases(hello, size):
    for bit in range(0, 8 * (32 + size), BITS):
        yield 'bit %d of a reply' % bit, greeted(lambda line, bit=bit: flipped(line.records(REPLY), bit)), ''
    for cut in (1, 16, 40):
        yield '%d bytes of a reply' % cut, greeted(lambda line, cut=cut: line.records(REPLY)[:cut]), 'inside a record'
    yield 'no last record', greeted(lambda line: b''), 'without a last record'
    for reason in REASONS:
        yield 'a plain BYE %d in the session' % reason, greeted(lambda line, reason=reason: bye(reason)), 'a plain frame'
    yield 'a plain reply in the session', greeted(lambda line: REPLY), 'not a record'
    yield 'an empty record', greeted(
        lambda line: plain(5, 0, line.session.ciphers[1].seal(plain(5, 0, bytes(16))[:16], b''))), 'an empty record'
    yield 'its own record', greeted(lambda line: line.take() and line.got[hello + 32:]), 'does not verify'
    yield 'record 1 first', greeted(lambda line: line.records(REPLY) and line.records(REPLY)), 'does not verify'
    yield 'half a reply in the last record', greeted(lambda line: line.records(REPLY[:-1], True)), 'ended'
    yield 'a byte behind the last record', greeted(lambda line: line.records(b'', True) + b'x'), 'behind the last record'


def connected(ring, where, kind, mode, command, act):
    """The program against this part: exit status, output, what it says, and what it sent."""
    lines = []

    def part(line):
        lines.append(line)
        act(line)
        line.shut()
        line.rest()

    words = {'call': ['hi'], 'send': ['hi'], 'connect': []}[command]
    with Responder(where, ring.responder(kind, mode), part) as server:
        got = interop.run([LINTEL, command] + ring.connects(kind, mode) + [server.endpoint] + words, b'hi\n')
    return got, lines[0]


def try_connecting(ring, where, kind, mode):
    for command in ('call', 'send', 'connect'):
        name = '%s, %s, %s, %s' % (command, where, kind, mode)
        hello = 16 + seal.FIRST[PATTERNS[kind]]
        for what, act, text, wire in answer_cases():
            (status, out, err), line = connected(ring, where, kind, mode, command, act)
            check(name, what + ': ' + err, (1, b'', True, 1), (status, out, text in err, err.count('\n')))
            check(name, what + ': the unauthenticated word', SAID in text, SAID in err)
            check(name, what + ': what was sent', wire.hex(), line.got[hello:].hex())
        for what, act, text in reply_cases(hello, len(REPLY)):
            (status, out, err), line = connected(ring, where, kind, mode, command, act)
            check(name, what + ': ' + err, (1, b'', True, False), (status, out, text in err, SAID in err))


def try_recorded_answers(ring, where, kind, mode):
    """What a server said in one session, played to a client in the next."""
    name = 'a recorded server, %s, %s, %s' % (where, kind, mode)
    recorded = {}

    def honest(line):
        line.greet()
        line.take()
        line.say(REPLY)
        recorded['wire'] = line.sent
        line.say(b'', True)

    (status, out, err), _ = connected(ring, where, kind, mode, 'call', honest)
    check(name, 'its session', (0, b'reply\n', ''), (status, out, err))
    (status, out, err), _ = connected(ring, where, kind, mode, 'call',
                                      lambda line: (line.take(), line.raw(recorded['wire'])))
    check(name, 'all of it: ' + err, (1, b'', 'does not verify' in err), (status, out, True))
    (status, out, err), _ = connected(ring, where, kind, mode, 'call', greeted(lambda line: recorded['wire'][64:]))
    check(name, 'its reply: ' + err, (1, b'', 'does not verify' in err), (status, out, True))


def try_silence(ring, where, kind, mode):
    for command in ('call', 'send'):
        with Responder(where, ring.responder(kind, mode), lambda line: line.rest()) as server:
            status, out, err = interop.run([LINTEL, command, '--timeout', '0.1'] + ring.connects(kind, mode)
                                           + [server.endpoint, 'hi'])
        check(command + ', a silent server', where + ': ' + err, (1, b'', 1), (status, out, err.count('\n')))


def main():
    with tempfile.TemporaryDirectory() as folder:
        ring = Ring(folder)
        tcp, unix = wheres(folder)
        for where, kind, mode in ((unix, 'psk', 'encrypt'), (tcp, 'psk', 'mac'), (tcp, 'ik', 'encrypt'), (unix, 'ik', 'mac')):
            if HAVE_UV:
                try_accepting(ring, where, kind, mode, ['serve', '-H', 'discard'], 0)
                try_exec(ring, where, kind, mode)
                try_slow(ring, where, kind, mode)
            try_accepting(ring, where, kind, mode, ['recv', '--raw'], 1)
            try_connecting(ring, where, kind, mode)
            try_recorded_answers(ring, where, kind, mode)
            try_silence(ring, where, kind, mode)
    return interop_result()
