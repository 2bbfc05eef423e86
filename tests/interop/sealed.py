"""Sessions of proto/vectors/sealed through the independent reading, and against the C side.

    sealed.py check PROTO           every vector, in Python
    sealed.py against DRIVER [N]    N random sessions, each side by turns in C (tests/seal_driver)
    sealed.py make PROTO            write the vectors anew

The form of a vector is in proto/vectors/README.md.
"""

import hashlib
import os
import random
import subprocess
import sys

try:
    import lintel_seal as seal
except ImportError:
    print('python3-cryptography is missing')
    sys.exit(77)


def secret(label):
    return hashlib.sha256(b'lintel vector ' + label.encode()).digest()


def hexed(data):
    return data.hex() or '-'


def bytes_of(text):
    return b'' if text == '-' else bytes.fromhex(text)


# ---- a vector, run ---------------------------------------------------------------------------

class Vector:
    """Both sides of a session, made from a vector's first lines, and its steps one by one."""

    def __init__(self):
        self.mode = 'encrypt'
        self.rekey = 1 << 20
        self.keys = {'initiator': ([], None, []), 'responder': ([], None, [])}
        self.sides = {}

    def side(self, name):
        if name not in self.sides:
            psks, own, peers = self.keys[name]
            keys = seal.Keys(self.mode, psks, own, peers)
            self.sides[name] = seal.Session(name == 'initiator', keys, rekey=self.rekey)
        return self.sides[name]

    def line(self, line):
        """A sentence about what is wrong, or None."""
        words = line.split('#')[0].split()
        if not words:
            return None
        if words[0] == 'mode':
            self.mode = words[1]
        elif words[0] == 'rekey':
            self.rekey = int(words[1])
        elif words[1] in ('psk', 'key', 'peer'):
            self._key(words[0], words[1], bytes_of(words[2]), words[3] if len(words) > 3 else '')
        else:
            got = self.step(self.side(words[0]), words[1], words[2:])
            if got != words[1:]:
                return 'got %s' % ' '.join(words[:1] + got)
        return None

    def _key(self, side, kind, key, name):
        psks, own, peers = self.keys[side]
        if kind == 'key':
            self.keys[side] = (psks, key, peers)
        else:
            (psks if kind == 'psk' else peers).append((key, name))

    @staticmethod
    def step(side, verb, words):
        """The words that this step should have in the vector."""
        if verb == 'writes' and words[0] == 'hello':
            side.ephemeral = bytes_of(words[1])
            if side.handshake:
                side.handshake.own['e'] = side.ephemeral
            try:
                return [verb, 'hello', words[1], hexed(side.hello())]
            except seal.Failed as why:
                return [verb, 'hello', words[1], 'error', why.code]
        if verb == 'writes':
            wire = side.record(bytes_of(words[1]), words[0] == 'last')
            return [verb, words[0], words[1], hexed(wire)]
        if verb == 'takes':
            return [verb, words[0]] + taken(side, bytes_of(words[0]))
        if verb == 'ends':
            return [verb, words[0], ended(side, int(words[0]))]
        if verb == 'says':
            return [verb, words[0], hexed(side.bye(int(words[0])) or b'')]
        if verb == 'id':
            return [verb, hexed(side.id() or b'')]
        if verb == 'named':
            return [verb, side.peer() or '-']
        raise ValueError('there is no step "%s"' % verb)


def taken(side, wire):
    try:
        got = side.take(wire)
    except seal.Failed as why:
        return ['error', why.code]
    if got is None:
        return ['more']
    what, piece, used = got
    assert used in (0, len(wire)), 'used %d of %d' % (used, len(wire))
    return [what] if what == 'hello' else [what, hexed(piece)]


def ended(side, left):
    try:
        return side.end(left)
    except seal.Failed as why:
        return why.code


def check(proto):
    folder = os.path.join(proto, 'vectors', 'sealed')
    count = failed = 0
    for name in sorted(os.listdir(folder)):
        vector = Vector()
        count += 1
        with open(os.path.join(folder, name), encoding='ascii') as file:
            for number, line in enumerate(file, 1):
                wrong = vector.line(line)
                if wrong:
                    failed += 1
                    print('FAIL %s:%d: %s' % (name, number, wrong))
                    break
    print('%d sealed vectors, %d failed' % (count, failed))
    return 1 if failed or not count else 0


# ---- making them -----------------------------------------------------------------------------

class Script:
    """Writes a vector while it runs it."""

    def __init__(self, about, ik=False, mode='encrypt', rekey=None, **keys):
        self.vector = Vector()
        self.lines = ['# ' + about]
        self.said = []
        self.put('mode ' + mode)
        if rekey:
            self.put('rekey %d' % rekey)
        if ik:
            self.put('initiator key %s' % secret('client').hex())
            self.put('initiator peer %s server' % seal.public_of(secret(keys.get('server', 'server'))).hex())
        else:
            self.put('initiator psk %s' % secret(keys.get('psk', 'shared')).hex())
        for name in keys.get('psks', ('shared', 'other')):
            self.put('responder psk %s %s' % (secret(name).hex(), name))
        if keys.get('listed', True):
            self.put('responder key %s' % secret('server').hex())
            for name in keys.get('clients', ('client', 'another')):
                self.put('responder peer %s %s' % (seal.public_of(secret(name)).hex(), name))

    def put(self, line):
        wrong = self.vector.line(line)
        assert not wrong, wrong
        self.lines.append(line)

    def do(self, side, verb, *words):
        """A step, with its outcome filled in; what it wrote."""
        got = self.vector.step(self.vector.side(side), verb, [str(word) for word in words] + [''] * 3)
        self.lines.append(' '.join([side] + got))
        return got[-1]

    def hello(self, side):
        return self.do(side, 'writes', 'hello', secret('ephemeral of the ' + side).hex())

    def first(self):
        wire = self.hello('initiator')
        self.takes('responder', wire)
        return wire

    def greet(self):
        first = self.first()
        return first, self.hello('responder')

    def open(self, piece=b'', last=False):
        _, answer = self.greet()
        self.takes('initiator', answer)
        return self.send('initiator', piece, last)

    def record(self, side, piece=b'', last=False):
        return self.do(side, 'writes', 'last' if last else 'record', hexed(piece))

    def send(self, side, piece=b'', last=False):
        wire = self.record(side, piece, last)
        self.takes('responder' if side == 'initiator' else 'initiator', wire)
        return wire

    def takes(self, side, wire):
        return self.do(side, 'takes', wire)

    def identify(self):
        for side in ('initiator', 'responder'):
            self.do(side, 'id')
            self.do(side, 'named')

    def refuse(self, side, wire, reason=6):
        """A side takes what it must refuse; then what it says, and that it names nobody new."""
        self.takes(side, wire)
        self.do(side, 'says', reason)
        self.do(side, 'id')
        self.do(side, 'named')


def flipped(wire, bit):
    data = bytearray.fromhex(wire)
    data[bit // 8] ^= 1 << bit % 8
    return data.hex()


def whole(about, ik, mode, **more):
    script = Script(about, ik, mode, **more)
    script.open()
    script.identify()
    script.send('initiator', b'hello')
    script.send('responder', b'HELLO')
    script.send('responder', bytes(range(256)))
    script.send('initiator', b'the end', True)
    script.do('responder', 'ends', 0)
    script.send('responder', b'', True)
    script.do('initiator', 'ends', 0)
    return script


def plain(kind, number, length, flags=8, version=1):
    return (seal.HEADER.pack(seal.MAGIC, version, flags, kind, number, length) + bytes(length)).hex()


def bye(reason):
    return seal.frame(seal.BYE, 0, reason.to_bytes(4, 'big') + bytes(4)).hex()


def valid():
    yield 'nnpsk0-encrypt', whole('A shared key, encrypted.', False, 'encrypt')
    yield 'nnpsk0-mac', whole('A shared key, authenticated only.', False, 'mac')
    yield 'ik-encrypt', whole('Keys of both sides, encrypted.', True, 'encrypt')
    yield 'ik-mac', whole('Keys of both sides, authenticated only.', True, 'mac')
    names = ['key-%d' % n for n in range(16)]
    yield 'nnpsk0-sixteen', whole('The last of sixteen shared keys fits.', False, 'encrypt', psk='key-15', psks=names)
    script = Script('Record 0 carries data, and is the last.', True, 'mac')
    script.open(b'all there is', True)
    script.do('responder', 'ends', 0)
    script.send('responder', b'the reply', True)
    script.do('initiator', 'ends', 0)
    yield 'record-0-last', script
    for mode in ('encrypt', 'mac'):
        script = Script('A new key behind each three records; one direction ends first.', False, mode, rekey=3)
        script.open()
        for n in range(7):
            script.send('initiator', b'up %d' % n, n == 6)
            script.send('responder', b'down %d' % n)
        for n in range(5):
            script.send('responder', b'on %d' % n, n == 4)
        yield 'rekey-' + mode, script


def broken_first():
    for about, name, options in (
            ('The responder has no such shared key.', 'first-unknown-psk', dict(psk='nobody')),
            ('The initiator is not on the list.', 'first-not-listed', dict(ik=True, clients=('another',))),
            ('The initiator takes the responder for another.', 'first-another-server', dict(ik=True, server='elsewhere')),
            ('The responder has no keys for IK.', 'first-no-keys-ik', dict(ik=True, listed=False)),
            ('The responder has no shared keys.', 'first-no-keys-nnpsk0', dict(psks=()))):
        script = Script(about, **options)
        script.refuse('responder', script.hello('initiator'))
        yield name, script
    for ik, name in ((False, 'nnpsk0'), (True, 'ik')):
        size = 8 * (16 + (99 if ik else 51))
        for what, bit in (('pattern', 129), ('cipher', 137), ('mode', 144), ('ephemeral', 8 * 25), ('bit-255', 8 * 50 + 7),
                          ('tag', size - 1), ('magic', 1), ('version', 17), ('flags', 26), ('type', 58), ('id', 95), ('length', 120)):
            script = Script('One bit changed in the first message: %s.' % what, ik)
            script.refuse('responder', flipped(script.hello('initiator'), bit))
            yield 'first-%s-%s' % (name, what), script
    script = Script('One bit changed in the encrypted static key.', True)
    script.refuse('responder', flipped(script.hello('initiator'), 8 * 60))
    yield 'first-ik-static', script
    script = Script('The stream ends inside of the first message.')
    wire = script.hello('initiator')
    script.takes('responder', wire[:2 * 66])
    script.do('responder', 'ends', 66)
    script.do('responder', 'says', 6)
    yield 'first-truncated', script
    script = Script('An ephemeral key of low order, from somebody who holds the shared key.')
    script.hello('initiator')
    symmetric = seal.Handshake(seal.NNPSK0, True, b'lintel/1\1\1\2', psk=secret('shared')).symmetric
    symmetric.mix_key_and_hash(secret('shared'))
    symmetric.mix_hash(bytes([1] + [0] * 31))
    symmetric.mix_key(bytes([1] + [0] * 31))
    payload = b'\1\1\2' + bytes([1] + [0] * 31) + symmetric.seal(b'')
    script.takes('responder', seal.frame(seal.HELLO, 0, payload).hex())
    script.hello('responder')
    script.do('responder', 'says', 6)
    yield 'first-low-order', script


def broken_answer():
    for ik, name in ((False, 'nnpsk0'), (True, 'ik')):
        for what, bit in (('ephemeral', 8 * 20), ('bit-255', 8 * 47 + 7), ('tag', 8 * 63), ('length', 8 * 15), ('version', 16)):
            script = Script('One bit changed in the answer: %s.' % what, ik)
            _, wire = script.greet()
            script.refuse('initiator', flipped(wire, bit))
            yield 'answer-%s-%s' % (name, what), script
    script = Script('The first message comes back: an echo, or two initiators.')
    script.refuse('initiator', script.hello('initiator'))
    yield 'answer-reflected', script
    script = Script('The answer of another session.')
    script.greet()
    other = Script('')
    other.hello('initiator')
    other.takes('responder', Script('').do('initiator', 'writes', 'hello', secret('another ephemeral').hex()))
    script.refuse('initiator', other.hello('responder'))
    yield 'answer-of-another-session', script


def broken_records():
    for mode in ('mac', 'encrypt'):
        for what, bit in (('last', 95), ('length', 127), ('piece', 8 * 16), ('tag', 8 * 30), ('flags', 24), ('type', 62)):
            script = Script('One bit changed in a record: %s.' % what, False, mode)
            script.open()
            wire = flipped(script.record('initiator', b'hello'), bit)
            if what == 'length':
                wire = wire[:-2]
            script.refuse('responder', wire)
            yield 'record-%s-%s' % (mode, what), script
    script = Script('Record 0 does not verify: the handshake was not done.')
    _, answer = script.greet()
    script.takes('initiator', answer)
    script.refuse('responder', flipped(script.record('initiator'), 8 * 20))
    yield 'record-0-tag', script
    for what in ('repeated', 'dropped', 'reflected', 'of-the-other-direction'):
        script = Script('A record %s.' % what.replace('-', ' '), True)
        script.open()
        one = script.record('initiator', b'one')
        two = script.record('initiator', b'two')
        down = script.record('responder', b'down')
        if what == 'repeated':
            script.takes('responder', one)
        script.refuse('initiator' if what == 'reflected' else 'responder',
                      {'repeated': one, 'dropped': two, 'reflected': one}.get(what, down))
        yield 'record-' + what, script
    for what, wire in (('empty', plain(5, 0, 16)), ('of-15', plain(5, 0, 15)), ('id-2', plain(5, 2, 32)),
                       ('hello', plain(1, 0, 51)), ('ping', plain(2, 7, 0)), ('bye-0', bye(0)), ('bye-1', bye(1)),
                       ('bye-6', bye(6)), ('request', plain(7, 1, 5, 0))):
        script = Script('In the place of a record: %s.' % what)
        script.open()
        script.refuse('responder', wire)
        yield 'plain-in-r2-' + what, script
    script = Script('A byte behind the last record.')
    script.open()
    script.send('initiator', b'the end', True)
    script.takes('responder', '00')
    script.do('responder', 'ends', 0)
    yield 'record-behind-last', script
    script = Script('The stream ends without a last record.')
    script.open()
    script.send('initiator', b'not the end')
    script.do('responder', 'ends', 0)
    yield 'record-no-last', script
    script = Script('A recorded session, played to a responder with a fresh ephemeral key.')
    old = Script('')
    zero = old.open()
    first = old.lines[[line.startswith('initiator writes hello') for line in old.lines].index(True)].split()[-1]
    script.takes('responder', first)
    script.do('responder', 'writes', 'hello', secret('fresh').hex())
    script.do('responder', 'named')
    script.refuse('responder', zero)
    yield 'replayed', script


def byes():
    for reason in (0, 1, 6, 3, 7, 99):
        for state in ('i0', 'i1', 'r0', 'r1'):
            script = Script('A plain BYE %d comes in state %s.' % (reason, state.upper()))
            if state == 'i0':
                script.hello('initiator')
            elif state == 'r1':
                script.greet()
            elif state == 'i1':
                _, answer = script.greet()
                script.takes('initiator', answer)
            script.refuse('responder' if state[0] == 'r' else 'initiator', bye(reason))
            yield 'bye-%d-in-%s' % (reason, state), script
    for reason in (1, 3, 6, 7):
        script = Script('A responder refuses by itself, and the initiator shows it.')
        script.hello('initiator')
        wire = script.do('responder', 'says', reason)
        script.takes('initiator', wire)
        script.do('initiator', 'says', 6)
        yield 'refusal-%d' % reason, script


def make(proto):
    folder = os.path.join(proto, 'vectors', 'sealed')
    os.makedirs(folder, exist_ok=True)
    for part in (valid, broken_first, broken_answer, broken_records, byes):
        for name, script in part():
            with open(os.path.join(folder, name), 'w', encoding='ascii') as file:
                file.write('\n'.join(script.lines) + '\n')
    return 0


# ---- against the C side ----------------------------------------------------------------------

class Driver:
    """A session in C: tests/seal_driver, told a vector's lines, answers with the same line as it is."""

    def __init__(self, program, lines):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for line in lines:
            self.process.stdin.write(line + '\n')

    def step(self, side, verb, words):
        self.process.stdin.write(' '.join([side, verb] + words) + '\n')
        self.process.stdin.flush()
        return self.process.stdout.readline().split()[1:]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def one_session(program, dice):
    """A random session, one side in C and the other in Python; a sentence about what is wrong."""
    ik, mode = dice.random() < 0.5, dice.choice(('mac', 'encrypt'))
    script = Script('', ik, mode, rekey=dice.choice((1, 2, 3, 1000)))
    ours = dice.choice(('initiator', 'responder'))
    driver = Driver(program, script.lines)

    def do(side, verb, *words):
        words = [str(word) for word in words]
        if side == ours:
            return script.vector.step(script.vector.side(side), verb, words)
        return driver.step(side, verb, words)

    try:
        return talk(do, dice)
    finally:
        driver.close()


def talk(do, dice):
    other = {'initiator': 'responder', 'responder': 'initiator'}
    for side in ('initiator', 'responder'):
        wire = do(side, 'writes', 'hello', dice.randbytes(32).hex())[-1]
        got = do(other[side], 'takes', wire, 'hello')
        if got[-1] != 'hello':
            return 'a handshake message of the %s: %s' % (side, got[2:])
    ended = set()
    side, piece = 'initiator', b''
    while True:
        last = dice.random() < 0.1
        if not piece and side == 'initiator' and not ended and last:
            last = False
        kind = 'last' if last else 'record'
        wire = do(side, 'writes', kind, hexed(piece))[-1]
        if dice.random() < 0.02:
            wire = flipped(wire, dice.randrange(4 * len(wire)))
            got = do(other[side], 'takes', wire, 'error')
            return None if got[2:] in (['error', 'LINTEL_E_SEAL'], ['more']) else 'a changed record: %s' % got[2:]
        got = do(other[side], 'takes', wire, kind)
        if got[2:] != [kind, hexed(piece)]:
            return 'a record of the %s: %s' % (side, got[2:])
        if do('initiator', 'id') != do('responder', 'id'):
            return 'the ids differ'
        if last:
            ended.add(side)
            if len(ended) == 2:
                return None
        side = dice.choice([name for name in other if name not in ended])
        piece = dice.randbytes(dice.choice((1, 5, 16, 63, 64, 65, 1000, 20000)))


def against(program, count):
    dice = random.Random(1)
    for number in range(count):
        wrong = one_session(program, dice)
        if wrong:
            print('FAIL session %d: %s' % (number, wrong))
            return 1
    print('%d sessions between Python and C' % count)
    return 0


def main():
    what, where = sys.argv[1:3]
    if what == 'make':
        return make(where)
    if what == 'check':
        return check(where)
    return against(where, int(sys.argv[3]) if len(sys.argv) > 3 else 60)


if __name__ == '__main__':
    sys.exit(main())
