"""Seeds for the fuzz targets, from proto/: seeds.py PROTO FOLDER

FOLDER/TARGET/NAME are the seeds; what an input means is said at the head of each target.
"""

import os
import re
import sys

WIRE_MAX = 3000
FORMATS = (
    '!HBBIII', '<cbB?hHiIlLqQ', '@cbB?hHiIlLqQnNP', '=efd', '>Tt8s4x8p', '@bhq0l', '!16sHB', '3B 2x H', '255p0s0p',
    '>2147483648x', '<99999999999999999999B', '@P', '<P', '4', 'Z', '!T 2t', '<e', '>f', '=d',
)


def read(folder, name, default=''):
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return default
    with open(path, encoding='ascii') as file:
        return file.read()


def number(value):
    """What input_number() reads as this."""
    return bytes([value]) if value < 0x80 else bytes([0xC7]) + value.to_bytes(8, 'big')


def vectors(proto):
    for kind in ('valid', 'invalid'):
        for name in sorted(os.listdir(os.path.join(proto, 'vectors', kind))):
            folder = os.path.join(proto, 'vectors', kind, name)
            layout = read(folder, 'layout', 'lintel').strip().encode()
            wire = bytes.fromhex(re.sub('#.*', '', read(folder, 'wire.hex')))
            yield name, layout, wire[:WIRE_MAX], read(folder, 'max_frame').strip()


def known(proto):
    for line in read(proto, 'layouts').splitlines():
        match = re.match(r'([a-z0-9_-]+)\s+([^#]*[^#\s])\s*(#|$)', line)
        if match:
            yield match.groups()[:2]


def decoder_seeds(name, layout, wire, max_frame):
    limit = number(int(max_frame)) if max_frame else b''
    flags = 2 if max_frame else 0
    for way, script in (('whole', b'\x2f'), ('bytes', b'\x00\x00'), ('in-place', b'\x35\x12'), ('pieces', b'\x43\x5a'),
                        ('turns', b'\xe3\x6c\xb5')):
        skip = way == 'turns'
        yield name + '-' + way, layout + b'\n' + bytes([flags | skip]) + limit + number(len(script)) + script + wire


def calls_seeds(name, layout, wire, max_frame):
    limit = number(int(max_frame)) if max_frame else b''
    ops = b''.join(b'\x00' + bytes([len(wire[i:i + 50])]) + wire[i:i + 50] + b'\x03\x04\x02\x05' for i in range(0, len(wire), 50))
    yield name, layout + b'\n' + bytes([2 if max_frame else 0]) + limit + ops + b'\x09\x03\x05'


def frame_seeds(name, layout, wire, _):
    yield name + '-decode', layout + b'\n\x00' + wire
    yield name + '-encode', layout + b'\n\x01' + wire


def message_seeds():
    """Messages in frames and in pieces; kinds of frames: message.c, make_frame()."""
    frame, piece, ask, end, renew = b'\x00', b'\x03', b'\x05', b'\x07', b'\x0f'
    for limits in (b'\x00\x00', b'\x02\x02', b'\xff\x0f'):
        name = '%02x-%02x' % tuple(limits)
        # MORE 7 bytes, PING 3, MORE 9, the last 5; then one that ends early.
        for way, call in (('frames', frame), ('pieces', piece)):
            rest = b'\xff' if call == piece else b''
            frames = [call + header + rest for header in (b'\x01\x07', b'\x07\x03', b'\x01\x09', b'\x00\x05')]
            yield '%s-%s' % (way, name), limits + ask.join(frames) + frames[0] + ask + end + frames[0] + renew + frames[3]
        yield 'split-' + name, limits + piece + b'\x01\x07\x03' + frame + piece + b'\x04' + piece + b'\x00\x05\x05'
        yield 'mixed-' + name, limits + frame + b'\x01\x07' + frame + b'\x11\x07' + ask + frame + b'\x00\x01'
        yield 'failing-' + name, limits + b'\x26' + 4 * (frame + b'\x01\x80') + frame + b'\x00\x80'


def sealed_seeds():
    """What becomes of a session on its way, in each pattern, mode and side: sealed.c, change()."""
    steps = {
        'whole': b'\x00\x11',
        'cut-short': b'\x07\x28',
        'bit-early': b'\x09\x1a\x00\x11',
        'bit-late': b'\x00\x03\x09\x14\x00\x11',
        'dropped': b'\x00\x01\x05\x02\x00\x11',
        'repeated': b'\x00\x03\x04\x20\x00\x11',
        'swapped': b'\x00\x01\x05\x02\x07\x40\x05\x01\x00\x11',
        'spliced': b'\x00\x01\x06\x02\x00\x11',
        'reflected': b'\x06\x00\x00\x11',
        'bye': b'\x02\x18LT\x01\x08\0\0\0\x04\0\0\0\0\0\0\0\x08\0\0\0\x06\0\0\0\0',
        'ping': b'\x00\x02\x02\x10LT\x01\x08\0\0\0\x02\0\0\0\0\0\0\0\0',
        'inserted': b'\x00\x03\x02\x20LT\x01\x08\0\0\0\x05\0\0\0\0\0\0\0\x10' + bytes(16),
    }
    for way in range(8):
        for name, script in steps.items():
            for cut in (0, 1, 50):
                yield '%s-%d-%d' % (name, way, cut), bytes([way, cut]) + script


def write(folder, target, name, data):
    path = os.path.join(folder, target)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, name), 'wb') as file:
        file.write(data)


def main():
    proto, folder = sys.argv[1:]
    for vector in vectors(proto):
        for target, seeds in (('decoder', decoder_seeds), ('calls', calls_seeds), ('frame', frame_seeds)):
            for name, data in seeds(*vector):
                write(folder, target, name, data)
        write(folder, 'layout', vector[0], vector[1])
    for name, text in known(proto):
        write(folder, 'layout', 'known-' + name, text.encode())
    for index, line in enumerate(read(os.path.join(proto, 'vectors'), 'refused.txt').splitlines()):
        if line and line[0] != '#':
            write(folder, 'layout', 'refused-%d' % index, line.partition(' ')[2].encode())
    for name, data in message_seeds():
        write(folder, 'message', name, data)
    for name, data in sealed_seeds():
        write(folder, 'handshake', name, data)
        write(folder, 'record', name, data)
    for index, text in enumerate(FORMATS):
        write(folder, 'pack', 'format-%d' % index, text.encode() + b'\n' + bytes(range(0, 240, 3)))


main()
