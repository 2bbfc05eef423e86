"""Random layouts and frames, the program against the reading in Python. Arguments: seed, number."""

import json
import random
import sys

import interop
import lintel_peer as peer

BITS = {'b': 8, 'B': 8, 'h': 16, 'H': 16, 't': 24, 'T': 24, 'i': 32, 'I': 32, 'l': 32, 'L': 32,
        'q': 64, 'Q': 64}


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.names = 0

    def chance(self, percent):
        return self.random.randrange(100) < percent

    def number(self, bits):
        """A number from 1, small ones and powers of two more often."""
        value = self.random.choice([self.random.randrange(1, 20), (1 << bits) - 1,
                                    1 << self.random.randrange(bits),
                                    self.random.getrandbits(self.random.randint(1, bits)) or 1])
        return self.random.choice([str, hex])(value)

    def view(self, name, code, bits, constant=30):
        text = name
        if code in peer.INTEGERS:
            if self.chance(30):
                text += '&' + self.number(bits)
            if self.chance(20):
                text += '>>' + str(self.random.randint(1, bits))
            if self.chance(20):
                text += '*' + str(self.random.choice([2, 3, 4, 8, 100, 1 << 40]))
            while self.chance(25):
                text += self.random.choice('+-') + self.number(self.random.choice([4, 8, 63]))
        if self.chance(constant):
            text += '=' + ("'A'" if code == 'c' else 'hex:414243' if code == 's' else
                           '1' if code == '?' else self.number(bits))
        return text

    def field(self, is_length, codes):
        code = self.random.choice(peer.INTEGERS if is_length else codes)
        count = '3' if code == 's' else ''
        if code == 'v' and self.chance(50):
            count = str(self.random.randint(1, 10))
        if code == 'x':
            return code
        bits = BITS.get(code) or min(64, 7 * int(count or 10))
        views = []
        for i in range(self.random.choice([1, 1, 1, 2, 3]) if code in peer.INTEGERS else 1):
            self.names += 1
            name = 'version' if self.chance(3) else 'v%d' % self.names
            views.append(self.view(name, code, bits))
        if is_length:
            views[self.random.randrange(len(views))] = self.view('length', code, bits, 1)
        return count + code + ':' + ','.join(views)

    def layout(self):
        self.names = 0
        header = [self.field(False, 'xcs?' + peer.INTEGERS) for _ in range(self.random.randrange(4))]
        header.insert(self.random.randint(0, len(header)), self.field(True, None))
        trailer = [self.field(False, 'xcs?bBhHtTiIlLqQ') for _ in range(self.random.choice([0, 0, 1, 2]))]
        return self.random.choice('!<>=') + ' '.join(header + ['*'] + trailer)

    def bytes(self, most):
        return bytes(self.random.choice([0, 0, 1, 2, 3, 0x7f, 0x80, 0xff, self.random.getrandbits(8)])
                     for _ in range(self.random.randint(0, most)))

    def values(self, layout):
        """Values for a frame, some of them refused by the layout."""
        values = {}
        for view in layout.views():
            if view.constant is not None:
                values[view.name] = view.constant
            elif view.field.code in peer.BYTES:
                values[view.name] = self.bytes(view.field.size).ljust(view.field.size, b'\0')
            elif self.chance(3):
                values[view.name] = self.random.getrandbits(64) - (1 << 63)
            else:
                values[view.name] = self.value(view)
        return values

    def value(self, view):
        try:
            return view.value(self.random.getrandbits(self.random.randint(1, 64)) & view.field.mask())
        except peer.Fault:
            return 0


def item_of(layout, values, payload):
    frame = peer.Frame(0, {view.name: values[view.name] for view in layout.views()}, payload, b'')
    return peer.to_json(frame)


def try_encode(maker, text, layout):
    """One frame at a time; gives what was written."""
    wire = b''
    for _ in range(3):
        values, payload = maker.values(layout), maker.bytes(9)
        values['length'] = len(payload)
        try:
            want = (0, peer.encode(layout, values, payload).hex())
        except peer.Unsendable:
            want = (1, '')
        line = json.dumps(item_of(layout, values, payload)).encode()
        status, out, err = interop.run([interop.LINTEL, 'encode', '--json', '--layout', text], line)
        interop.check(text, 'encode --json of %s, %s' % (line, err), want, (status, out.hex()))
        wire += bytes.fromhex(want[1])
    return wire


def try_decode(maker, text, layout, wire):
    for stream in (wire, wire + maker.bytes(20), maker.bytes(40)):
        items, error = interop.frames_of(layout, None, stream)
        status, out, err = interop.run([interop.LINTEL, 'decode', '--json', '--layout', text], stream)
        interop.check(text, 'decode --json of %s, %s' % (stream.hex(), err),
                      (1 if error else 0, items), (status, interop.json_lines(out)))
        if error:
            interop.check(text, 'the offset in ' + err, True,
                          'frame at byte %d:' % error.offset in err)


def main(seed, number):
    maker = Maker(seed)
    taken = 0
    for _ in range(number):
        text = maker.layout()
        try:
            layout, column = peer.Layout(text), None
        except peer.LayoutError as error:
            layout, column = None, error.column
        status, out, err = interop.run([interop.LINTEL, 'layout', text])
        interop.check(text, 'exit status of layout, ' + err, 2 if column else 0, status)
        if column:
            interop.check(text, 'the column in ' + err, True, 'column %d:' % column in err)
        if layout and status == 0:
            taken += 1
            try_decode(maker, text, layout, try_encode(maker, text, layout))
    print('seed %d: %d layouts, %d taken; %d checks, %d failed'
          % (seed, number, taken, interop.checks, len(interop.failures)))
    return 1 if interop.failures or not taken else 0


if __name__ == '__main__':
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
