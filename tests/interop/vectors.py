"""Runs the independent reading over proto/vectors; the format is in proto/vectors/README.md."""

import os
import re
import sys

import lintel_peer as peer

CODES = ('MISMATCH', 'VERSION', 'MALFORMED', 'TOO_SMALL', 'TOO_LARGE', 'TRUNCATED')


def read(folder, name, default=None):
    path = os.path.join(folder, name)
    if default is not None and not os.path.exists(path):
        return default
    with open(path) as file:
        return file.read()


def wire_of(folder):
    return bytes.fromhex(re.sub(r'#.*', '', read(folder, 'wire.hex')))


def show(value):
    return 'hex:' + value.hex() if isinstance(value, bytes) else str(value)


def frame_line(frame):
    views = ''.join(' %s=%s' % (name, show(value)) for name, value in frame.values.items())
    return '%d %d %s%s' % (frame.offset, len(frame.payload), frame.payload.hex() or '-', views)


def read_line(line):
    """Values and payload of a line of frames.txt."""
    _, _, payload, *views = line.split()
    values = {}
    for view in views:
        name, _, value = view.partition('=')
        values[name] = bytes.fromhex(value[4:]) if value.startswith('hex:') else int(value)
    return values, b'' if payload == '-' else bytes.fromhex(payload)


def decode(layout, limit, pieces):
    """The lines that a stream gives: frames, then the error where there is one."""
    decoder = peer.Decoder(layout, limit)
    lines = []
    try:
        for piece in list(pieces) + [None]:
            if piece is None:
                decoder.end()
            else:
                decoder.feed(piece)
            while True:
                frame = decoder.next()
                if frame is None:
                    break
                lines.append(frame_line(frame))
    except peer.Refused as error:
        lines.append('error %s %d' % (error.code, error.offset))
    return lines


def cuts(wire):
    yield 'whole', [wire]
    yield 'byte by byte', [wire[i:i + 1] for i in range(len(wire))]
    for i in range(1, len(wire)):
        yield 'cut at %d' % i, [wire[:i], wire[i:]]


def expected(folder, valid):
    if valid:
        return read(folder, 'frames.txt').splitlines()
    *frames, error, why = read(folder, 'error.txt').splitlines()
    if not all(line.startswith('frame ') for line in frames) or not why:
        raise ValueError('error.txt has not the form it must have')
    code = re.fullmatch(r'error LINTEL_E_(\w+) \d+', error)
    if not code or code.group(1) not in CODES:
        raise ValueError('%s is no error line' % error)
    return [line[6:] for line in frames] + [error]


def check(folder, valid):
    """A sentence about the first thing that is wrong, or None."""
    layout = peer.layout_of(read(folder, 'layout', 'lintel\n').rstrip('\n'))
    limit = read(folder, 'max_frame', 'none')
    limit = None if limit == 'none' else int(limit)
    wire = wire_of(folder)
    want = expected(folder, valid)
    for how, pieces in cuts(wire):
        lines = decode(layout, limit, pieces)
        if lines != want:
            return '%s:\n  got  %s\n  want %s' % (how, '\n       '.join(lines), '\n       '.join(want))
    return check_again(layout, limit, wire, want) if valid else None


def check_again(layout, limit, wire, want):
    """Frames encoded again: the same bytes, or the same frames where some bits are nobody's."""
    again = b''.join(peer.encode(layout, *read_line(line)) for line in want)
    if again != wire and (is_whole(layout) or decode(layout, limit, [again]) != want):
        return 'encoded again: %s, not %s' % (again.hex(), wire.hex())
    return None


def is_whole(layout):
    """Does every bit of header and trailer belong to a view?"""
    for field in layout.header + layout.trailer:
        own = 0
        for view in field.views:
            own |= view.own()
        if own != field.mask():
            return False
    return True


def covered(root):
    """The known layouts that no valid vector names."""
    names = {read(entry.path, 'layout', 'lintel\n').strip()
             for entry in os.scandir(os.path.join(root, 'vectors/valid'))}
    return sorted(set(peer.known()) - names)


def check_refused(root):
    """What is wrong with each line of refused.txt, and how many lines there are."""
    faults, count = [], 0
    for line in read(root, 'vectors/refused.txt').splitlines():
        if not line or line.startswith('#'):
            continue
        count += 1
        column, text = line.split(' ', 1)
        try:
            peer.Layout(text)
            faults.append('%s: is taken' % text)
        except peer.LayoutError as error:
            if error.column != int(column):
                faults.append('%s: %s, not column %s' % (text, error, column))
    return faults, count


def main(root):
    counts, failed = {}, 0
    for kind in ('valid', 'invalid'):
        folder = os.path.join(root, 'vectors', kind)
        names = sorted(os.listdir(folder))
        counts[kind] = len(names)
        for name in names:
            try:
                fault = check(os.path.join(folder, name), kind == 'valid')
            except (OSError, ValueError) as error:
                fault = str(error)
            if fault:
                failed += 1
                print('FAIL %s/%s: %s' % (kind, name, fault))
    faults, counts['refused'] = check_refused(root)
    faults += ['no valid vector of the layout %s' % name for name in covered(root)]
    for fault in faults:
        failed += 1
        print('FAIL %s' % fault)
    print('%d valid, %d invalid, %d refused layouts, %d failed'
          % (counts['valid'], counts['invalid'], counts['refused'], failed))
    return 1 if failed or not all(counts.values()) else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
