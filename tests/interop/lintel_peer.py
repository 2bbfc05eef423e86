"""An independent reading of proto/lintel.md and proto/layouts.md, Python's standard library only.

It shares no line with the C library. Layouts, frames out, a streaming decoder with the same
outcomes, codes and offsets, and two commands over TCP and UNIX sockets:

    lintel_peer.py serve [-H echo|upper|discard] [--layout L] ENDPOINT
    lintel_peer.py call [--layout L] ENDPOINT [PAYLOAD...]
    lintel_peer.py encode|decode [--layout L] [--max-frame N]

A payload is text, or hex: and digits. decode prints what proto/vectors/README.md calls frame lines,
encode reads them. Exit status 0 done, 1 failed, 2 the command line is wrong.
"""

import argparse
import os
import re
import signal
import socket
import struct
import sys

FRAME_LIMIT = 16 << 20
LENGTH_MAX = 1 << 62
REPLY, ERROR, MORE, CONTROL = 1, 2, 4, 8
HELLO, PING, PONG, BYE, SEALED, FDS = 1, 2, 3, 4, 5, 6


class LayoutError(ValueError):
    """A layout that cannot be read; column is from 1."""

    def __init__(self, column, text):
        super().__init__('column %d: %s' % (column, text))
        self.column = column


class Refused(Exception):
    """What a peer's bytes ran into: a code of the library, the offset of the frame, a sentence."""

    def __init__(self, code, offset, text):
        super().__init__('frame at byte %d: %s' % (offset, text))
        self.code = code
        self.offset = offset


class Unsendable(ValueError):
    """A frame that the layout cannot carry."""


# ---- layouts ---------------------------------------------------------------------------------

SIZES = {'c': 1, 'b': 1, 'B': 1, '?': 1, 'h': 2, 'H': 2, 't': 3, 'T': 3, 'i': 4, 'I': 4, 'l': 4,
         'L': 4, 'f': 4, 'q': 8, 'Q': 8, 'd': 8}
SIGNED = 'bhtilq'
INTEGERS = 'bBhHtTiIlLqQv'
OPS = ('&', '>>', '*', '+', '-')


class View:
    """One named number, or byte string, of a header or trailer."""

    def __init__(self, name, column):
        self.name = name
        self.column = column
        self.mask = None
        self.shift = None
        self.factor = None
        self.sum = None
        self.constant = None

    def in_order(self):
        return self.mask is not None or self.shift is not None

    def reckoned(self):
        return self.factor is not None or self.sum is not None


class Field:
    def __init__(self, code, size):
        self.code = code
        self.size = size
        self.views = []

    def bits(self):
        return min(64, 7 * self.size) if self.code == 'v' else 8 * self.size

    def own(self, view):
        """The bits of the word that a view reads, in place."""
        mask = (1 << self.bits()) - 1
        if view.mask is not None:
            mask &= view.mask
        return mask >> (view.shift or 0) << (view.shift or 0)

    def range(self, view):
        """The least and the greatest value of a view, before what is refused."""
        low, high = 0, (1 << self.bits()) - 1
        if view.in_order():
            high = self.own(view) >> (view.shift or 0)
        elif self.code in SIGNED:
            low, high = -(1 << self.bits() - 1), (1 << self.bits() - 1) - 1
        factor, total = view.factor or 1, view.sum or 0
        return low * factor + total, high * factor + total


class Layout:
    """One line of text, read whole, or refused with a LayoutError."""

    def __init__(self, text):
        self.text = text
        self.little = False
        self.header = []
        self.trailer = []
        self.star = None
        self.at = 0
        self._order()
        self._fields()
        self._whole()

    # -- the text --

    def _fail(self, text, at=None):
        raise LayoutError((self.at if at is None else at) + 1, text)

    def _peek(self, count=1):
        return self.text[self.at:self.at + count]

    def _take(self, pattern):
        match = re.compile(pattern).match(self.text, self.at)
        if match:
            self.at = match.end()
        return match and match.group()

    def _order(self):
        order = self._take('[!<>=]')
        self.little = order == '<' or order == '=' and sys.byteorder == 'little'

    def _fields(self):
        self._take('[ \t]*')
        while self.at < len(self.text):
            if self._peek() == '*':
                if self.star is not None:
                    self._fail('a second *')
                self.star = self.at
                self.at += 1
            else:
                (self.header if self.star is None else self.trailer).append(self._field())
            if self.at < len(self.text) and not self._take('[ \t]+'):
                self._fail('a blank is missing')

    def _field(self):
        start = self.at
        digits = self._take('[0-9]+')
        code = self._take('[xcbB?hHtTiIlLqQfdsv]')
        if not code:
            self._fail('no such code')
        if digits and code not in 'sxv':
            self._fail('a count stands only before s, x and v', start)
        count = int(digits) if digits else 10 if code == 'v' else 1
        if count < 1 or code == 'v' and count > 10 or count > 1024:
            self._fail('a count that cannot be', start)
        field = Field(code, SIZES.get(code, count))
        if self._peek() != ':':
            if code != 'x':
                self._fail('a name is missing')
            return field
        if code == 'x':
            self._fail('padding has no name')
        while True:
            self.at += 1
            field.views.append(self._view(field))
            if self._peek() != ',':
                return field

    def _view(self, field):
        column = self.at
        name = self._take('[A-Za-z_][A-Za-z0-9_]*')
        if not name:
            self._fail('a name is missing')
        if len(name) > 31:
            self._fail('a name of more than 31 characters', column)
        if any(name == other.name for other in self.views() + field.views):
            self._fail('the name stands twice', column)
        view = View(name, column + 1)
        while self._op(field, view):
            pass
        self._reach(field, view)
        if self._peek() == '=':
            self.at += 1
            view.constant = self._constant(field, view)
        return view

    def _number(self):
        digits = self._take('0[xX][0-9A-Fa-f]+|[0-9]+')
        if not digits:
            self._fail('a number is missing')
        return int(digits, 16 if digits[1:2] in 'xX' and digits[1:2] else 10)

    def _op(self, field, view):
        start = self.at
        op = self._take(r'&|>>|\*|\+|-')
        if not op:
            return False
        if field.code not in INTEGERS:
            self._fail('only a number can be reckoned with', start)
        number = self._number()
        bits = field.bits()
        if op in ('&', '>>') and view.reckoned() or op == '*' and view.sum is not None:
            self._fail('an operation out of order', start)
        if op == '&':
            if view.mask is not None:
                self._fail('a second mask', start)
            view.mask = number << (view.shift or 0)
            if number == 0 or view.mask >> bits:
                self._fail('a mask that is 0 or wider than the field', start)
        elif op == '>>':
            if view.shift is not None:
                self._fail('a second shift', start)
            if number >= bits:
                self._fail('a shift of the whole field', start)
            view.shift = number
        elif op == '*':
            if view.factor is not None:
                self._fail('a second factor', start)
            if not 0 < number < 1 << 63:
                self._fail('a factor that cannot be', start)
            view.factor = number
        else:
            view.sum = (view.sum or 0) + (number if op == '+' else -number)
            if not -(1 << 63) < view.sum < 1 << 63:
                self._fail('a sum over 63 bits', start)
        return True

    def _reach(self, field, view):
        if field.code not in INTEGERS:
            return
        if not field.own(view):
            self._fail('no bit is left', view.column - 1)
        if view.reckoned() and field.range(view)[1] < 0:
            self._fail('always below zero', view.column - 1)

    def _constant(self, field, view):
        start = self.at
        if field.code in 'sc':
            text = self._take("'[\x20-\x26\x28-\x7e]*'")
            if text is not None:
                value = text[1:-1].encode()
            else:
                digits = self._take('hex:(?:[0-9A-Fa-f]{2})+')
                if not digits:
                    self._fail('a text or hex: is missing')
                value = bytes.fromhex(digits[4:])
            if len(value) != field.size:
                self._fail('the constant has not the size of the field', start)
            return value
        if field.code in 'fd':
            self._fail('no constants for f and d', start)
        sign = -1 if self._take('-') else 1
        value = sign * self._number()
        low, high = (0, 1) if field.code == '?' else field.range(view)
        if not low <= value <= high or view.reckoned() and not 0 <= value < 1 << 64:
            self._fail('the view never has this value', start)
        try:
            put_word(field, view, value)
        except Unsendable:
            self._fail('the view never has this value', start)
        return value

    def _whole(self):
        self.at = len(self.text)
        if self.star is None:
            self._fail('* is missing')
        for view in [v for f in self.trailer for v in f.views]:
            if view.name == 'length':
                self._fail('the length stands behind the payload', view.column - 1)
        self.length = next((v for f in self.header for v in f.views if v.name == 'length'), None)
        if not self.length:
            self._fail('no view is named length')
        self.length_field = next(f for f in self.header if self.length in f.views)
        if self.length_field.code not in INTEGERS or self.length.constant is not None:
            self._fail('the length is not a number of its own', self.length.column - 1)
        if len(self.views()) > 64 or len(self.header) + len(self.trailer) > 64:
            self._fail('more than 64 views or fields')
        for part in (self.header, self.trailer):
            if sum(field.size for field in part) > 1024:
                self._fail('more than 1024 bytes')
        self.is_lintel = self.text == known()['lintel'].text if known.done else False

    # -- asking --

    def views(self):
        return [view for field in self.header + self.trailer for view in field.views]

    def length_max(self):
        high = self.length_field.range(self.length)[1]
        return min(high, LENGTH_MAX, (1 << 64) - 1)

    def limit(self, wanted=None):
        """The limit of a frame: the one asked for, or the default cut to what the length carries."""
        if wanted is None:
            return min(FRAME_LIMIT, self.length_max())
        if wanted > self.length_max():
            raise ValueError('the layout cannot carry %d bytes' % wanted)
        return wanted


def known():
    """The known layouts by name, from proto/layouts."""
    if not known.done:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../proto/layouts')
        with open(path) as lines:
            for line in lines:
                if line.strip() and not line.lstrip().startswith('#'):
                    name, rest = line.split(None, 1)
                    known.done[name] = Layout(re.split(r'[ \t]+#', rest)[0])
        known.done['lintel'].is_lintel = True
    return known.done


known.done = {}


def layout_of(text):
    """A layout from a known name or a text."""
    known()
    if re.search(r'[ \t*:]', text):
        return Layout(text)
    if text not in known():
        raise LayoutError(1, 'no known layout has this name')
    return known()[text]


# ---- words and views -------------------------------------------------------------------------

def get_word(field, raw, little):
    """The bits of a field, without sign; bytes for s and c; a float for f and d."""
    if field.code in 'scx':
        return raw
    if field.code in 'fd':
        return struct.unpack('<>'[not little] + field.code, raw)[0]
    if field.code == 'v':
        return sum((byte & 0x7f) << 7 * i for i, byte in enumerate(raw))
    return int.from_bytes(raw, 'little' if little else 'big')


def get_view(field, view, word):
    """A view of a word, exactly; what is out of range is told by the caller."""
    if field.code in 'scfd':
        return word
    if field.code == '?':
        return int(word != 0)
    if view.in_order():
        word = (word & field.own(view)) >> (view.shift or 0)
    elif field.code in SIGNED and word >> field.bits() - 1:
        word -= 1 << field.bits()
    return word * (view.factor or 1), view.sum or 0


def reckon(field, view, word):
    """The value of a view, or a code: too small, too large."""
    value = get_view(field, view, word)
    if not isinstance(value, tuple):
        return value, None
    product, total = value
    if not view.reckoned():
        return product, None
    if product >= 1 << 64 or product + total >= 1 << 64:
        return None, 'LINTEL_E_TOO_LARGE'
    if product + total < 0:
        return None, 'LINTEL_E_TOO_SMALL'
    return product + total, None


def put_word(field, view, value):
    """The bits that a view's value sets in its word."""
    low, high = 0, (1 << field.bits()) - 1
    number = value - (view.sum or 0)
    if number % (view.factor or 1):
        raise Unsendable('%s: %d is not a multiple' % (view.name, value))
    number //= view.factor or 1
    if view.in_order():
        word = number << (view.shift or 0)
        if word < 0 or word & ~field.own(view):
            raise Unsendable('%s: %d does not fit' % (view.name, value))
        return word
    if field.code in SIGNED:
        low, high = -(1 << field.bits() - 1), (1 << field.bits() - 1) - 1
    if field.code == '?':
        high = 1
    if not low <= number <= high:
        raise Unsendable('%s: %d does not fit' % (view.name, value))
    return number & (1 << field.bits()) - 1


def put_varint(number, size):
    out = bytearray()
    while number > 0x7f:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    out.append(number)
    if len(out) > size:
        raise Unsendable('a varint of more than %d bytes' % size)
    return bytes(out)


# ---- frames out ------------------------------------------------------------------------------

def check_lintel(flags, kind, ident, length):
    """What lintel's own layout forbids beyond constants; a sentence, or None."""
    if flags not in (0, 1, 3, 4, 5, 7, 8):
        return 'flags 0x%02x do not go together' % flags
    if flags != CONTROL:
        return None
    if kind not in (HELLO, PING, PONG, BYE, SEALED, FDS):
        return 'no control frame has type %d' % kind
    sizes = {HELLO: (48, 51, 99), PING: range(126), PONG: range(126), BYE: (8,),
             SEALED: range(16, 65536), FDS: (4,)}
    ids = {HELLO: (0,), BYE: (0,), FDS: (0,), SEALED: (0, 1)}
    if length not in sizes[kind]:
        return 'a control frame of type %d has no %d bytes' % (kind, length)
    if kind in ids and ident not in ids[kind]:
        return 'a control frame of type %d has no id %d' % (kind, ident)
    return None


def encode(layout, values, payload):
    """One frame. values are by name; constants and the length are filled in, what is missing is 0."""
    values = dict(values, length=len(payload))
    if len(payload) > layout.length_max():
        raise Unsendable('the length does not carry %d bytes' % len(payload))
    if layout.is_lintel:
        fault = check_lintel(*(values.get(name, 0) for name in ('flags', 'type', 'id')),
                             len(payload))
        if fault:
            raise Unsendable(fault)
    head = b''.join(put_field(layout, field, values) for field in layout.header)
    tail = b''.join(put_field(layout, field, values) for field in layout.trailer)
    return head + payload + tail


def put_field(layout, field, values):
    if field.code == 'x':
        return bytes(field.size)
    if field.code in 'scfd':
        view = field.views[0]
        for view in field.views:
            value = view.constant if view.constant is not None else values.get(view.name)
            if value is not None:
                break
        if field.code in 'fd':
            return struct.pack('<>'[not layout.little] + field.code, value or 0)
        value = value or b''
        if len(value) > field.size:
            raise Unsendable('%s: more than %d bytes' % (view.name, field.size))
        return value.ljust(field.size, b'\0')
    word = 0
    for view in field.views:
        value = view.constant if view.constant is not None else values.get(view.name)
        if value is None:
            value = 0 if view.in_order() or len(field.views) > 1 else max(0, field.range(view)[0])
        word |= put_word(field, view, value)
    for view in field.views:
        must = view.constant if view.constant is not None else \
            values['length'] if view is layout.length else None
        if must is not None and reckon(field, view, word)[0] != must:
            raise Unsendable('%s: another view of its word disturbs it' % view.name)
    if field.code == 'v':
        return put_varint(word, field.size)
    return word.to_bytes(field.size, 'little' if layout.little else 'big')


# ---- frames in -------------------------------------------------------------------------------

class Frame:
    """A whole frame. values holds every view by name, in the order of the layout."""

    def __init__(self, offset, values, payload, raw):
        self.offset = offset
        self.values = values
        self.payload = payload
        self.raw = raw


class Decoder:
    """Bytes in, frames out. next() gives a Frame, None when more is needed, or raises Refused."""

    def __init__(self, layout, max_frame=None):
        self.layout = layout
        self.limit = layout.limit(max_frame)
        self.buffer = bytearray()
        self.offset = 0
        self.ended = False
        self.error = None

    def feed(self, data):
        self.buffer += data

    def end(self):
        self.ended = True

    def next(self):
        if self.error:
            raise self.error
        try:
            frame = self._step()
            if frame is None and self.ended and self.buffer:
                raise self._refuse('LINTEL_E_TRUNCATED', 'the stream ended inside the frame')
        except Refused as error:
            self.error = error
            raise
        return frame

    def _refuse(self, code, text):
        return Refused(code, self.offset, text)

    def _step(self):
        values = {}
        start = self._part(self.layout.header, 0, values, True)
        if start is None:
            return None
        end = start + values['length']
        if len(self.buffer) < end:
            return None
        size = self._part(self.layout.trailer, end, values, False)
        if size is None:
            return None
        raw = bytes(self.buffer[:size])
        frame = Frame(self.offset, values, raw[start:end], raw)
        del self.buffer[:size]
        self.offset += size
        return frame

    def _part(self, fields, at, values, is_header):
        """Read header or trailer from at; its end, or None when it is not whole."""
        words = []
        for field in fields:
            size = self._varint(field, at) if field.code == 'v' else field.size
            if size is None or len(self.buffer) - at < size:
                return None
            raw = bytes(self.buffer[at:at + size])
            words.append((field, get_word(field, raw, self.layout.little)))
            at += size
        self._judge_constants(words)
        if is_header and self.layout.is_lintel:
            self._judge_lintel(words)
        for field, word in words:
            for view in field.views:
                value, fault = reckon(field, view, word)
                if not fault and view is self.layout.length and value < 0:
                    fault = 'LINTEL_E_TOO_SMALL'
                if fault:
                    raise self._refuse(fault, '%s is out of range' % view.name)
                values[view.name] = value
        if is_header and values['length'] > self.limit:
            raise self._refuse('LINTEL_E_TOO_LARGE', 'length %d exceeds the limit of %d'
                               % (values['length'], self.limit))
        return at

    def _varint(self, field, at):
        """The size of a varint at this place, or None; a form that is not allowed is refused."""
        for size in range(1, field.size + 1):
            if at + size > len(self.buffer):
                return None
            byte = self.buffer[at + size - 1]
            if size == 10 and byte > 1:
                break
            if byte < 0x80:
                if byte == 0 and size > 1:
                    raise self._refuse('LINTEL_E_MALFORMED', 'a varint longer than needed')
                return size
        raise self._refuse('LINTEL_E_TOO_LARGE', 'a varint over %d bytes or 64 bits' % field.size)

    def _judge_constants(self, words):
        versions = []
        for field, word in words:
            for view in field.views:
                if view.constant is None or reckon(field, view, word)[0] == view.constant:
                    continue
                if view.name == 'version':
                    versions.append(view)
                    continue
                raise self._refuse('LINTEL_E_MISMATCH', '%s is not what it must be' % view.name)
        if versions:
            raise self._refuse('LINTEL_E_VERSION', 'another version')

    def _judge_lintel(self, words):
        words = {field.views[0].name: word for field, word in words}
        fault = check_lintel(words['flags'], words['type'], words['id'], words['length'])
        if fault:
            raise self._refuse('LINTEL_E_MALFORMED', fault)


# ---- frame lines -----------------------------------------------------------------------------

def show(value):
    return 'hex:' + value.hex() if isinstance(value, bytes) else str(value)


def frame_line(frame):
    """OFFSET LENGTH PAYLOADHEX VIEW=VALUE ..., as in proto/vectors."""
    views = ''.join(' %s=%s' % (name, show(value)) for name, value in frame.values.items())
    return '%d %d %s%s' % (frame.offset, len(frame.payload), frame.payload.hex() or '-', views)


def read_frame_line(line):
    """Values and payload of a frame line."""
    _, _, payload, *views = line.split()
    values = {}
    for view in views:
        name, _, value = view.partition('=')
        values[name] = bytes.fromhex(value[4:]) if value.startswith('hex:') else int(value)
    return values, b'' if payload == '-' else bytes.fromhex(payload)
