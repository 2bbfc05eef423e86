"""An independent reading of proto/sealed.md: both roles, bytes in and bytes out, on python3-cryptography.

It shares no line with the C library. A Session is told what came (take) and asked for what goes out
(hello, record, bye). sealed.py runs it over proto/vectors/sealed and against the C side.
"""

import hashlib
import hmac
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HEADER = struct.Struct('!HBBIII')
MAGIC, VERSION, CONTROL = 0x4C54, 1, 8
HELLO, BYE, SEALED = 1, 4, 5
NNPSK0, IK = 1, 2
CHACHAPOLY = 1
MODES = {'mac': 1, 'encrypt': 2}
FIRST = {NNPSK0: 51, IK: 99}
PIECE_MAX = 65519
NONCE_MAX = (1 << 64) - 1


class Failed(Exception):
    """The end of a session; code is the name of the library's status."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class Broken(Exception):
    """Something in Noise does not verify."""


def public_of(secret):
    key = X25519PrivateKey.from_private_bytes(secret)
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def dh(secret, public):
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise Broken('a DH of zeros') from None


def hkdf(key, material, count):
    temp = hmac.new(key, material, hashlib.sha256).digest()
    out, last = [], b''
    for number in range(1, count + 1):
        last = hmac.new(temp, last + bytes([number]), hashlib.sha256).digest()
        out.append(last)
    return out


class Cipher:
    """CipherState."""

    def __init__(self, key):
        self.key = key
        self.number = 0

    def _aead(self, number):
        return ChaCha20Poly1305(self.key), bytes(4) + number.to_bytes(8, 'little')

    def seal(self, data, plain):
        if self.number == NONCE_MAX:
            raise Broken('the numbers are used up')
        aead, nonce = self._aead(self.number)
        self.number += 1
        return aead.encrypt(nonce, plain, data)

    def open(self, data, sealed):
        if self.number == NONCE_MAX:
            raise Broken('the numbers are used up')
        aead, nonce = self._aead(self.number)
        try:
            plain = aead.decrypt(nonce, sealed, data)
        except InvalidTag:
            raise Broken('a tag does not verify') from None
        self.number += 1
        return plain

    def rekey(self):
        aead, nonce = self._aead(NONCE_MAX)
        self.key = aead.encrypt(nonce, bytes(32), b'')[:32]


class Symmetric:
    """SymmetricState."""

    def __init__(self, name):
        self.hash = name.ljust(32, b'\0') if len(name) <= 32 else hashlib.sha256(name).digest()
        self.chain = self.hash
        self.cipher = None

    def mix_hash(self, data):
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, material):
        self.chain, key = hkdf(self.chain, material, 2)
        self.cipher = Cipher(key)

    def mix_key_and_hash(self, material):
        self.chain, data, key = hkdf(self.chain, material, 3)
        self.mix_hash(data)
        self.cipher = Cipher(key)

    def seal(self, plain):
        sealed = self.cipher.seal(self.hash, plain)
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed):
        plain = self.cipher.open(self.hash, sealed)
        self.mix_hash(sealed)
        return plain

    def split(self):
        return [Cipher(key) for key in hkdf(self.chain, b'', 2)]


class Handshake:
    """HandshakeState for the two patterns; both messages have an empty payload unless one is given."""

    TOKENS = {NNPSK0: (('psk', 'e'), ('e', 'ee')), IK: (('e', 'es', 's', 'ss'), ('e', 'ee', 'se'))}
    NAMES = {NNPSK0: b'Noise_NNpsk0_25519_ChaChaPoly_SHA256', IK: b'Noise_IK_25519_ChaChaPoly_SHA256'}

    def __init__(self, pattern, initiator, prologue, psk=None, static=None, remote=None, ephemeral=None):
        self.pattern = pattern
        self.initiator = initiator
        self.psk = psk
        self.own = {'s': static, 'e': ephemeral}
        self.remote = {'s': remote, 'e': None}
        self.message = 0
        self.symmetric = Symmetric(self.NAMES[pattern])
        self.symmetric.mix_hash(prologue)
        if pattern == IK:
            self.symmetric.mix_hash(remote if initiator else public_of(static))

    def _mix_e(self, public):
        self.symmetric.mix_hash(public)
        if self.pattern == NNPSK0:
            self.symmetric.mix_key(public)

    def _mix_dh(self, token):
        # The initiator's key is the first letter, the responder's the second.
        mine, theirs = token if self.initiator else token[::-1]
        self.symmetric.mix_key(dh(self.own[mine], self.remote[theirs]))

    def _next(self):
        self.message += 1
        return self.TOKENS[self.pattern][self.message - 1]

    def write(self, payload=b''):
        out = b''
        for token in self._next():
            if token == 'psk':
                self.symmetric.mix_key_and_hash(self.psk)
            elif token == 'e':
                self.own['e'] = self.own['e'] or os.urandom(32)
                public = public_of(self.own['e'])
                self._refuse_own(public, self.remote['e'])
                self._mix_e(public)
                out += public
            elif token == 's':
                out += self.symmetric.seal(public_of(self.own['s']))
            else:
                self._mix_dh(token)
        return out + self.symmetric.seal(payload)

    def read(self, message):
        at = 0
        for token in self._next():
            if token == 'psk':
                self.symmetric.mix_key_and_hash(self.psk)
            elif token == 'e':
                self.remote['e'] = message[:32]
                at = 32
                self._refuse_own(self.remote['e'], public_of(self.own['e']) if self.own['e'] else None)
                self._mix_e(self.remote['e'])
            elif token == 's':
                self.remote['s'] = self.symmetric.open(message[at:at + 48])
                at += 48
            else:
                self._mix_dh(token)
        return self.symmetric.open(message[at:])

    @staticmethod
    def _refuse_own(one, other):
        if one == other:
            raise Broken('the same ephemeral on both sides')


class Keys:
    """What a side holds: shared keys [(key, name)], or secret and peers [(public key, name)]."""

    def __init__(self, mode, psks=(), secret=None, peers=()):
        self.mode = mode
        self.psks = list(psks)
        self.secret = secret
        self.peers = list(peers)


def frame(kind, number, payload):
    return HEADER.pack(MAGIC, VERSION, CONTROL, kind, number, len(payload)) + payload


class Session:
    """One side. state is I0, I1, R0, R1 or R2."""

    def __init__(self, initiator, keys, ephemeral=None, rekey=1 << 20):
        self.initiator = initiator
        self.keys = keys
        self.ephemeral = ephemeral
        self.rekey_every = rekey
        self.state = 'I0' if initiator else 'R0'
        self.handshake = None
        self.failed = None
        self.done = False
        self.said_bye = False
        self.in_last = self.out_last = False
        self.needs_hello = initiator
        self.needs_record = False
        self._id = self._peer = None
        self.ciphers = None

    def id(self):
        return self._id if self.done else None

    def peer(self):
        return self._peer if self.done else None

    # ---- the handshake ----

    def _prologue(self, pattern):
        return b'lintel/1' + self._choice(pattern)

    def _choice(self, pattern):
        return bytes([pattern, CHACHAPOLY, MODES[self.keys.mode]])

    def hello(self):
        """The handshake message that is due."""
        self._alive()
        if not self.needs_hello:
            raise ValueError('no handshake message is due')
        choice = self._begin() if self.initiator else b''
        try:
            message = self.handshake.write()
        except Broken as why:
            raise self._fail('LINTEL_E_SEAL', str(why)) from None
        self.needs_hello = False
        if not self.initiator:
            self._split()
        return frame(HELLO, 0, choice + message)

    def _begin(self):
        if self.keys.psks:
            pattern, (psk, self._peer) = NNPSK0, self.keys.psks[0]
            self.handshake = Handshake(pattern, True, self._prologue(pattern), psk=psk, ephemeral=self.ephemeral)
        else:
            pattern, (remote, self._peer) = IK, self.keys.peers[0]
            self.handshake = Handshake(pattern, True, self._prologue(pattern), static=self.keys.secret, remote=remote,
                                       ephemeral=self.ephemeral)
        return self._choice(pattern)

    def _split(self):
        first, second = self.handshake.symmetric.split()
        self.ciphers = (second, first) if self.initiator else (first, second)
        self._id = self.handshake.symmetric.hash
        self.handshake = None

    def _read_first(self, payload):
        pattern = NNPSK0 if len(payload) == 51 else IK
        if payload[:3] != self._choice(pattern):
            raise Broken('another pattern, cipher or mode')
        self.handshake = None
        tries = ([dict(psk=psk, name=name) for psk, name in self.keys.psks] if pattern == NNPSK0
                 else [dict(static=self.keys.secret, name=None)])
        for options in tries:
            name = options.pop('name')
            attempt = Handshake(pattern, False, self._prologue(pattern), **options)
            try:
                attempt.read(payload[3:])
            except Broken:
                continue
            self.handshake, self._peer = attempt, name
        if self.handshake is None:
            raise Broken('the first message does not verify')
        if pattern == IK:
            names = dict(self.keys.peers)
            if self.handshake.remote['s'] not in names:
                raise Broken('the key is not on the list')
            self._peer = names[self.handshake.remote['s']]
        self.handshake.own['e'] = self.ephemeral
        self.state, self.needs_hello = 'R1', True

    # ---- in ----

    def take(self, data):
        """None where more is needed; else (what, piece, bytes used)."""
        self._alive()
        if self.state == 'R1' and self.needs_hello:
            return 'hello', b'', 0
        if self.in_last and data:
            raise self._fail('LINTEL_E_SEAL', 'bytes behind the last record')
        if len(data) < 16:
            return None
        kind, number, length = self._judge(data[:16])
        if len(data) < 16 + length:
            return None
        payload = data[16:16 + length]
        if kind == BYE:
            raise self._fail('LINTEL_E_REFUSED', 'the peer said, unauthenticated: BYE %d' % struct.unpack('!II', payload)[0])
        try:
            if kind == HELLO:
                self._hello_came(payload)
                return 'hello', b'', 16 + length
            piece = self._open(data[:16], payload)
        except Broken as why:
            raise self._fail('LINTEL_E_SEAL', str(why)) from None
        self.in_last = number == 1
        return 'last' if number else 'record', piece, 16 + length

    def _judge(self, header):
        magic, version, flags, kind, number, length = HEADER.unpack(header)
        if (magic, version, flags) != (MAGIC, VERSION, CONTROL) or not self._allows(kind, number, length):
            raise self._fail('LINTEL_E_SEAL', 'a header that may not stand here: ' + header.hex())
        return kind, number, length

    def _allows(self, kind, number, length):
        if kind == BYE:
            return number == 0 and length == 8 and not self.done
        if kind == HELLO:
            return number == 0 and (self.state == 'I0' and not self.needs_hello and length == 48
                                    or self.state == 'R0' and (length == 51 and bool(self.keys.psks)
                                                               or length == 99 and self.keys.secret is not None))
        if kind != SEALED or number > 1 or not 16 <= length <= 65535 or self.state in ('I0', 'R0'):
            return False
        zero = not self.initiator and self.ciphers[0].number == 0
        return length > 16 or number == 1 or zero

    def _hello_came(self, payload):
        if not self.initiator:
            return self._read_first(payload)
        self.handshake.read(payload)
        self._split()
        self.state, self.done, self.needs_record = 'I1', True, True
        return None

    def _open(self, header, payload):
        cipher = self.ciphers[0]
        if self.keys.mode == 'encrypt':
            piece = cipher.open(header, payload)
        else:
            piece = payload[:-16]
            cipher.open(header + piece, payload[-16:])
        self._count(cipher)
        if self.state == 'R1':
            self.state, self.done = 'R2', True
        return piece

    def _count(self, cipher):
        if cipher.number % self.rekey_every == 0:
            cipher.rekey()

    def end(self, left=0):
        """The stream has ended: the code that says how."""
        self._alive()
        if self.in_last and not left:
            return 'LINTEL_E_END'
        if self.in_last:
            raise self._fail('LINTEL_E_SEAL', 'bytes behind the last record')
        raise self._fail('LINTEL_E_TRUNCATED', 'the end before a last record')

    # ---- out ----

    def record(self, piece=b'', last=False):
        self._alive()
        if not self.done or self.out_last or len(piece) > PIECE_MAX or not (piece or last or self.needs_record):
            raise ValueError('no such record now')
        cipher = self.ciphers[1]
        header = HEADER.pack(MAGIC, VERSION, CONTROL, SEALED, int(last), len(piece) + 16)
        if self.keys.mode == 'encrypt':
            sealed = cipher.seal(header, piece)
        else:
            sealed = piece + cipher.seal(header + piece, b'')
        self._count(cipher)
        self.out_last, self.needs_record = last, False
        return header + sealed

    def bye(self, reason):
        """The plain BYE of a side that refuses; None where nothing may be said."""
        quiet = self.failed and self.failed.code in ('LINTEL_E_REFUSED', 'LINTEL_E_TRUNCATED')
        if self.done or self.said_bye or quiet or (self.initiator and self.needs_hello):
            return None
        self.said_bye = True
        if not self.failed:
            self._fail('LINTEL_E_CLOSED', 'this side has refused')
        return frame(BYE, 0, struct.pack('!II', reason, 0))

    # ---- errors ----

    def _alive(self):
        if self.failed:
            raise self.failed

    def _fail(self, code, text):
        self.failed = Failed(code, text)
        self.handshake = None
        return self.failed
