"""An independent reading of proto/lintel.md and proto/layouts.md, Python's standard library only.

It shares no line with the C library: layouts, frames out, a streaming decoder with the same
outcomes, codes and offsets, and the JSON lines of the program. peer.py makes commands of it.
"""

import os
import re
import struct
import sys

FRAME_LIMIT = 16 << 20
LENGTH_MAX = 1 << 62
WORD_MAX = (1 << 64) - 1
REPLY, ERROR, MORE, CONTROL = 1, 2, 4, 8
HELLO, PING, PONG, BYE, SEALED, FDS = 1, 2, 3, 4, 5, 6


class LayoutError(ValueError):
    """A layout that cannot be read; column is from 1."""

    def __init__(self, column, text):
        super().__init__('layout, column %d: %s' % (column, text))
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
BYTES = 'xcs'


class Fault(Exception):
    """A view whose number is out of range: LINTEL_E_TOO_SMALL or LINTEL_E_TOO_LARGE."""


class View:
    """One named number, or byte string, of a header or trailer."""

    def __init__(self, field, name, column):
        self.field = field
        self.name = name
        self.column = column
        self.mask = None
        self.shift = None
        self.factor = None
        self.sums = []
        self.constant = None

    def own(self):
        """The bits of the word that are this view's, in place."""
        mask = self.field.mask() if self.mask is None else self.mask
        return mask >> (self.shift or 0) << (self.shift or 0)

    def is_signed(self):
        return self.field.code in SIGNED and self.mask is None and self.shift is None

    def has_ops(self):
        return self.mask is not None or self.shift is not None or self.reckons()

    def reckons(self):
        return self.factor is not None or self.sums != []

    def number(self, word):
        """The word's bits as a number, before factor and sums."""
        if self.is_signed():
            sign = self.field.mask() + 1 >> 1
            return (word ^ sign) - sign
        return (word & self.own()) >> (self.shift or 0)

    def value(self, word):
        """What the view reads in this word; a Fault where it is out of range."""
        if self.field.code in 'xcsfd':
            return word
        if self.field.code == '?':
            return int(word != 0)
        number = self.number(word)
        if self.has_ops():
            number = self._within(number)
            number = self._within(number * (self.factor or 1))
            for step in self.sums:
                number = self._within(number + step)
        return number

    @staticmethod
    def _within(number):
        if number < 0:
            raise Fault('LINTEL_E_TOO_SMALL')
        if number > WORD_MAX:
            raise Fault('LINTEL_E_TOO_LARGE')
        return number

    def bits(self, value):
        """The bits that give this value, in place in an empty word."""
        number, rest = divmod(value - sum(self.sums), self.factor or 1)
        least = -(self.field.mask() + 1 >> 1) if self.is_signed() and not self.has_ops() else 0
        most = self.field.mask() >> 1 if self.is_signed() else self.own() >> (self.shift or 0)
        most = 1 if self.field.code == '?' else most
        word = number << (self.shift or 0) & self.field.mask()
        if rest or not least <= number <= most or not self.reads(word, value):
            raise Unsendable('%s: no field holds %d' % (self.name, value))
        return word

    def reach(self):
        """The least and the greatest value that it can read beside the constants of its field; None
        where there is none."""
        low = high = total = 0
        for step in self.sums:
            total += step
            low, high = min(low, total), max(high, total)
        free, fixed = self.own(), 0
        for view in self.field.views:
            if view.constant is not None:
                free &= ~view.own()
                fixed |= view.bits(view.constant) & view.own() & self.own()
        if self.is_signed():
            sign = self.field.mask() + 1 >> 1
            if fixed & sign:
                return None
            free &= ~sign
        factor, shift = self.factor or 1, self.shift or 0
        top = min((free | fixed) >> shift, (WORD_MAX - high) // factor) * factor
        if top + low < 0:
            return None
        return max(0, (fixed >> shift) * factor + total), top + total

    def bits_of_nothing(self):
        """The bits of a view that nobody gives: those of 0, where it can be 0."""
        try:
            return self.bits(0)
        except Unsendable:
            return 0

    def reads(self, word, value):
        try:
            return self.value(word) == value
        except Fault:
            return False

    def holds(self, word):
        """Does this constant view read what it must?"""
        if self.field.code in 'fd':
            form = '<' + self.field.code
            return struct.pack(form, word) == struct.pack(form, self.constant)
        return self.reads(word, self.constant)


class Field:
    """What stands in the bytes: a code, its size (of a varint the most), its views."""

    def __init__(self, code, count):
        self.code = code
        self.size = SIZES.get(code) or count or (10 if code == 'v' else 1)
        self.views = []

    def mask(self):
        return (1 << min(64, (7 if self.code == 'v' else 8) * self.size)) - 1


class Layout:
    """One line of text, read whole, or refused with a LayoutError."""

    def __init__(self, text):
        self.text = text
        self.at = 0
        self.header = []
        self.trailer = []
        self.star = None
        self._take('[ \t]*')
        order = self._take('[!<>=]')
        self.little = order == '<' or order == '=' and sys.byteorder == 'little'
        self._take('[ \t]*')
        while self.at < len(text):
            self._item()
            if self.at < len(text) and not self._take('[ \t]+'):
                self._fail('a blank is missing')
        self._whole()
        self.is_lintel = text == LINTEL

    def _fail(self, text, at=None):
        raise LayoutError((self.at if at is None else at) + 1, text)

    def _take(self, pattern):
        match = re.compile(pattern).match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match.group()

    def _item(self):
        if self._take(r'\*') is None:
            (self.header if self.star is None else self.trailer).append(self._field())
        elif self.star is None:
            self.star = self.at - 1
        else:
            self._fail('a second *', self.at - 1)

    def _field(self):
        start = self.at
        part = self.header if self.star is None else self.trailer
        if len(self.header) + len(self.trailer) == 64:
            self._fail('more than 64 fields')
        count = self._take('[0-9]+')
        code = self._take('[xcbB?hHtTiIlLqQfdsv]')
        if code is None:
            self._fail('no code')
        if count is not None and (code not in 'sxv' or not 1 <= int(count) <= 1024
                                  or code == 'v' and int(count) > 10):
            self._fail('a count that cannot be', start)
        field = Field(code, count and int(count))
        if sum(each.size for each in part) + field.size > 1024:
            self._fail('more than 1024 bytes', start)
        if self._take(':') is None:
            if code != 'x':
                self._fail('only x may be nameless')
            return field
        field.views.append(self._view(field))
        while self._take(','):
            field.views.append(self._view(field))
        self._clash(field)
        return field

    def _view(self, field):
        start = self.at
        name = self._take('[A-Za-z_][A-Za-z0-9_]*')
        if name is None or len(name) > 31:
            self._fail('no name, or one of more than 31 characters', start)
        if any(name == view.name for view in self.views() + field.views):
            self._fail('the name stands twice', start)
        if field.views and field.code not in INTEGERS and field.code != '?':
            self._fail('only integers are shared by views', start)
        if len(self.views() + field.views) == 64:
            self._fail('more than 64 views', start)
        view = View(field, name, start + 1)
        while self._op(field, view):
            pass
        if self._take('='):
            view.constant = self._constant(field, view)
        return view

    def _number(self):
        start = self.at
        digits = self._take('0[xX][0-9A-Fa-f]*|[0-9]+') or ''
        base = 16 if digits[1:2] in ('x', 'X') else 10
        if digits in ('', '0x', '0X') or int(digits, base) > WORD_MAX:
            self._fail('no number, or one over 64 bits', start)
        return int(digits, base)

    def _op(self, field, view):
        start = self.at
        op = self._take(r'&|>>|\*|\+|-')
        if op is None:
            return False
        if field.code not in INTEGERS:
            self._fail('only integers are reckoned with', start)
        number = self._number()
        if op == '&':
            fault = view.mask is not None or view.reckons() or number == 0 \
                or number > field.mask() >> (view.shift or 0)
            view.mask = number << (view.shift or 0)
        elif op == '>>':
            fault = view.shift is not None or view.reckons() or not 1 <= number < 64
            view.shift = number
        elif op == '*':
            fault = view.reckons() or number < 2
            view.factor = number
        else:
            view.sums.append(number if op == '+' else -number)
            fault = number >> 63 or abs(sum(view.sums)) >> 63
        if fault or view.own() == 0:
            self._fail('an operation that cannot be, or out of order', start)
        return True

    def _constant(self, field, view):
        start = self.at
        if field.code in BYTES:
            text = self._take("'[\x20-\x26\x28-\x7e]*'")
            digits = self._take('hex:[0-9A-Fa-f]*') if text is None else None
            if text is None and (digits is None or len(digits) % 2):
                self._fail("no 'text', and no hex: and pairs of digits", start)
            value = bytes.fromhex(digits[4:]) if text is None else text[1:-1].encode()
            if len(value) != field.size:
                self._fail('the constant has not the size of the field', start)
            return value
        minus = (field.code in 'fd' or view.is_signed() and not view.has_ops()) and self._take('-')
        value = self._number()
        if field.code in 'fd':
            return -float(value) if minus else float(value)
        value = -value if minus else value
        try:
            view.bits(value)
        except Unsendable:
            self._fail('the view never has this value', start)
        return value

    def _clash(self, field):
        fixed = [view for view in field.views
                 if view.constant is not None and field.code in INTEGERS + '?']
        for i, one in enumerate(fixed):
            for other in fixed[:i]:
                both = one.own() & other.own()
                if (one.bits(one.constant) ^ other.bits(other.constant)) & both:
                    self._fail('two constants clash', one.column - 1)

    def _whole(self):
        if self.star is None:
            self._fail('no *')
        self.length = next((view for view in self.views() if view.name == 'length'), None)
        if self.length is None:
            self._fail('no view is named length', self.star)
        if (self.length.field in self.trailer or self.length.field.code not in INTEGERS
                or self.length.constant is not None or self.length.reach() is None
                or self.length.reach()[0] > LENGTH_MAX):
            self._fail('not a length', self.length.column - 1)

    def views(self):
        return [view for field in self.header + self.trailer for view in field.views]

    def has(self, name):
        return any(view.name == name and view.constant is None for view in self.views())

    def length_max(self):
        """The most payload bytes that the length can carry."""
        return min(self.length.reach()[1], LENGTH_MAX)

    def limit(self, wanted=None):
        """The limit of a frame: the one asked for, or the default cut to what the length carries."""
        if wanted is None:
            return min(FRAME_LIMIT, self.length_max())
        if wanted > self.length_max():
            raise ValueError('the length does not carry %d bytes' % wanted)
        return wanted


LINTEL = '!H:magic=0x4c54 B:version=1 B:flags,reserved&0xf0=0 I:type I:id I:length *'
LAYOUTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'proto', 'layouts')


def known():
    """The known layouts by name, from proto/layouts."""
    table = {}
    with open(LAYOUTS) as lines:
        for line in lines:
            if line.strip() and not line.lstrip().startswith('#'):
                name, rest = line.split(None, 1)
                table[name] = Layout(re.split(r'[ \t]+#', rest)[0])
    return table


def layout_of(text):
    """A layout from a known name or a text."""
    if re.search(r'[ \t*:]', text):
        return Layout(text)
    table = known()
    if text not in table:
        raise LayoutError(1, 'no known layout has this name')
    return table[text]


# ---- frames out ------------------------------------------------------------------------------

def check_lintel(flags, kind, ident, length):
    """What lintel's own layout forbids beyond its constants; a sentence, or None."""
    if flags not in (0, REPLY, REPLY | ERROR, MORE, REPLY | MORE, REPLY | ERROR | MORE, CONTROL):
        return 'flags 0x%02x do not go together' % flags
    if flags != CONTROL:
        return None
    rules = {HELLO: ((48, 51, 99), (0,)), PING: (range(126), None), PONG: (range(126), None),
             BYE: ((8,), (0,)), SEALED: (range(16, 65536), (0, 1)), FDS: ((4,), (0,))}
    if kind not in rules:
        return 'no control frame has type %d' % kind
    sizes, ids = rules[kind]
    if length not in sizes or ids is not None and ident not in ids:
        return 'no control frame of type %d has id %d and %d bytes' % (kind, ident, length)
    return None


def encode(layout, values, payload):
    """One frame. Constants and the length are filled in, a view that values does not name is 0."""
    if layout.is_lintel:
        fault = check_lintel(*(values.get(name, 0) for name in ('flags', 'type', 'id')),
                             len(payload))
        if fault:
            raise Unsendable(fault)
    values = dict(values, length=len(payload))
    head = b''.join(put_field(layout, field, values) for field in layout.header)
    tail = b''.join(put_field(layout, field, values) for field in layout.trailer)
    return head + payload + tail


def put_field(layout, field, values):
    view = field.views[0] if field.views else None
    given = view and (values.get(view.name) if view.constant is None else view.constant)
    if field.code in BYTES:
        if given is not None and (len(given) > field.size or field.code == 'c' and not given):
            raise Unsendable('%s: %d bytes do not fit' % (view.name, len(given)))
        return (given or b'').ljust(field.size, b'\0')
    if field.code in 'fd':
        return struct.pack(('<' if layout.little else '>') + field.code, 0 if given is None else given)
    word = put_word(layout, field, values)
    if field.code == 'v':
        return put_varint(word)
    return word.to_bytes(field.size, 'little' if layout.little else 'big')


def put_word(layout, field, values):
    word, fixed = 0, []
    for view in field.views:
        value = values.get(view.name) if view.constant is None else view.constant
        word |= view.bits_of_nothing() if value is None else view.bits(value)
        if view.constant is not None or view is layout.length:
            fixed.append((view, value))
    for view, value in fixed:
        if not view.reads(word, value):
            raise Unsendable('%s: another view of its word disturbs it' % view.name)
    for view in field.views:
        try:
            view.value(word)
        except Fault:
            raise Unsendable('%s: no reader would take it' % view.name) from None
    return word


def put_varint(word):
    out = bytearray()
    while word > 0x7f:
        out.append(word & 0x7f | 0x80)
        word >>= 7
    return bytes(out + bytes([word]))


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
        if self.error is None:
            try:
                return self._step()
            except Refused as error:
                self.error = error
        raise self.error

    def _refuse(self, code, text):
        return Refused(code, self.offset, text)

    def _more(self):
        if self.ended and self.buffer:
            raise self._refuse('LINTEL_E_TRUNCATED', 'the stream ended inside the frame')

    def _step(self):
        values = {}
        start = self._part(self.layout.header, 0, values)
        if start is None:
            return self._more()
        end = start + values['length']
        if len(self.buffer) < end:
            return self._more()
        size = self._part(self.layout.trailer, end, values)
        if size is None:
            return self._more()
        raw = bytes(self.buffer[:size])
        frame = Frame(self.offset, values, raw[start:end], raw)
        del self.buffer[:size]
        self.offset += size
        return frame

    def _part(self, fields, at, values):
        """Judge header or trailer, which begins at this place. Its end; None: it is not whole."""
        words, bad = [], None
        for field in fields:
            try:
                size = self._varint(field, at) if field.code == 'v' else field.size
            except Fault as fault:
                bad = str(fault)
                break
            if size is None or len(self.buffer) - at < size:
                return None
            words.append((field, self._word(field, bytes(self.buffer[at:at + size]))))
            at += size
        self._judge_constants(words)
        if fields is self.layout.header and self.layout.is_lintel:
            self._judge_lintel(words)
        for field, word in words:
            for view in field.views:
                if view is not self.layout.length:
                    values[view.name] = self._value(view, word)
                else:
                    values['length'] = None
        if bad:
            raise self._refuse(bad, 'a varint that the layout forbids')
        if fields is self.layout.header:
            values['length'] = self._length(words)
        return at

    def _length(self, words):
        view = self.layout.length
        length = self._value(view, dict(words)[view.field])
        if length < 0:
            raise self._refuse('LINTEL_E_TOO_SMALL', 'length %d is below zero' % length)
        if length > self.limit:
            raise self._refuse('LINTEL_E_TOO_LARGE', 'length %d exceeds the limit of %d'
                               % (length, self.limit))
        return length

    def _value(self, view, word):
        try:
            return view.value(word)
        except Fault as fault:
            raise self._refuse(str(fault), '%s is out of range' % view.name) from None

    def _word(self, field, raw):
        if field.code in BYTES:
            return raw
        if field.code in 'fd':
            return struct.unpack(('<' if self.layout.little else '>') + field.code, raw)[0]
        if field.code == 'v':
            return sum((byte & 0x7f) << 7 * i for i, byte in enumerate(raw))
        return int.from_bytes(raw, 'little' if self.layout.little else 'big')

    def _varint(self, field, at):
        """The size of the varint at this place; None: it is not whole."""
        for size in range(1, field.size + 1):
            if at + size > len(self.buffer):
                return None
            byte = self.buffer[at + size - 1]
            if size == 10 and byte > 1:
                break
            if byte < 0x80:
                if byte == 0 and size > 1:
                    raise Fault('LINTEL_E_MALFORMED')
                return size
        raise Fault('LINTEL_E_TOO_LARGE')

    def _judge_constants(self, words):
        version = None
        for field, word in words:
            for view in field.views:
                if view.constant is None or view.holds(word):
                    continue
                if view.name != 'version':
                    raise self._refuse('LINTEL_E_MISMATCH', '%s is not what it must be' % view.name)
                version = view
        if version:
            raise self._refuse('LINTEL_E_VERSION', 'another version')

    def _judge_lintel(self, words):
        words = {field.views[0].name: word for field, word in words}
        fault = check_lintel(words['flags'], words['type'], words['id'], words['length'])
        if fault:
            raise self._refuse('LINTEL_E_MALFORMED', fault)


# ---- JSON lines ------------------------------------------------------------------------------

def to_json(frame):
    """A frame as the program's decode --json prints it."""
    header = {}
    for name, value in frame.values.items():
        if isinstance(value, bytes):
            value = value.hex()
        elif isinstance(value, int) and abs(value) > (1 << 53) - 1:
            value = str(value)
        header[name] = value
    return {'offset': frame.offset, 'header': header, 'length': len(frame.payload),
            'payload': frame.payload.hex()}


def from_json(layout, item):
    """Values and payload of such a line; offset and length are ignored."""
    values = {}
    for view in layout.views():
        value = item.get('header', {}).get(view.name)
        if value is not None:
            values[view.name] = bytes.fromhex(value) if view.field.code in BYTES else \
                float(value) if view.field.code in 'fd' else int(value)
    return values, bytes.fromhex(item.get('payload', ''))
