"""What a dissector of `lintel layout --dissector` shows, against what `lintel decode --json` says.

dissector.py LINTEL VECTORS   makes a capture with text2pcap, in an empty working directory: the
                              vectors of a layout, one behind the other, are a connection for every
                              way to cut them into segments.
"""

import json
import os
import random
import re
import subprocess
import sys

lintel, vectors = sys.argv[1:]
WATCHDOG = 100
WANTED = ('lintel u32 dns postgres http2 mqtt amqp protobuf mysql wayland oncrpc kafka bgp x11 '
          'native-messaging 9p').split()


def run(*command, data=b''):
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=WATCHDOG)
    if done.returncode != 0:
        sys.exit('%s: %s' % (' '.join(command), done.stderr.decode()))
    return done.stdout


def read(name, file, default=None):
    path = os.path.join(vectors, name, file)
    if default is not None and not os.path.exists(path):
        return default
    with open(path) as opened:
        return opened.read().rstrip('\n')


def cuts(wire, layout):
    """Segments: single bytes; for some layouts as few as can be, and pieces of any size."""
    yield [wire[i:i + 1] for i in range(len(wire))]
    if layout not in WANTED:
        return
    yield [wire[i:i + 1400] for i in range(0, len(wire), 1400)]
    dice = random.Random(wire)
    pieces = []
    while wire:
        size = dice.randint(1, 12)
        pieces.append(wire[:size])
        wire = wire[size:]
    yield pieces


class Capture:
    """Connections, each told from the others by its ports."""

    def __init__(self):
        self.ports = {}    # layout: its port
        self.scripts = []  # what tshark is given
        self.files = []
        self.wanted = {}   # (port of the sender, of the receiver): layout, name, what it is to show

    def add_layout(self, layout):
        port = 20000 + len(self.ports)
        prefix = [] if re.fullmatch(r'[\w-]+', layout) else ['--prefix', 'spec%d' % port]
        script = run(lintel, 'layout', '--dissector', '--port', str(port), *prefix, layout)
        with open('%d.lua' % port, 'wb') as file:
            file.write(script)
        self.scripts += ['-X', 'lua_script:%d.lua' % port]
        self.ports[layout] = port, re.search(rb'local NAME = "(.*)"', script).group(1).decode()

    def add(self, layout, wire, wanted):
        if layout not in self.ports:
            self.add_layout(layout)
        port, proto = self.ports[layout]
        for pieces in cuts(wire, layout):
            sender = 30000 + len(self.files)
            text = ''.join('000000 %s\n' % piece.hex(' ') for piece in pieces)
            file = '%d.pcap' % sender
            run('text2pcap', '-q', '-T', '%d,%d' % (sender, port), '-', file, data=text.encode())
            self.files.append(file)
            self.wanted[sender, port] = '%s in %d segments' % (layout, len(pieces)), proto, wanted

    def show(self):
        run('mergecap', '-a', '-w', 'all.pcap', *self.files)
        text = run('tshark', *self.scripts, '-r', 'all.pcap', '-T', 'json')
        return json.loads(text, object_pairs_hook=lambda pairs: pairs)


def find(pairs, key):
    """All values of a key, in the order in which they are shown, however deep."""
    for name, value in pairs if isinstance(pairs, list) else []:
        if name == key:
            yield value
        elif isinstance(value, list):
            yield from find(value, key)


def same(shown, value):
    """A view as tshark prints it, and as decode does: byte strings are hex in both."""
    if isinstance(value, (int, float)):
        return float(shown) == value if isinstance(value, float) else int(shown) == value
    return shown.replace(':', '') == value or shown == value


def check_frame(about, proto, shown, frame):
    for view, value in frame['header'].items():
        values = list(find(shown, '%s.%s' % (proto, view)))
        if not values and value == '':
            continue
        if len(values) != 1 or not same(values[0], value):
            sys.exit('%s: %s is shown as %s, and is %s' % (about, view, values, value))
    payload = ''.join(find(shown, 'data.data')).replace(':', '')
    if payload != frame['payload']:
        sys.exit('%s: the payload is shown as %s, and is %s' % (about, payload, frame['payload']))


def check_wrong(about, proto, shown, wanted):
    experts = [text for one in shown for text in find(one, '%s.%s' % (proto, wanted))]
    if not experts:
        sys.exit('%s: there is no %s' % (about, wanted))


def main():
    capture = Capture()
    wires = {}
    for name in sorted(os.listdir(vectors)):
        layout = read(name, 'layout', 'lintel')
        wire = bytes.fromhex(re.sub('#.*', '', read(name, 'wire.hex')))
        if wire and len(wire) < 3000:
            wires[layout] = wires.get(layout, b'') + wire
    for layout, wire in wires.items():
        said = run(lintel, 'decode', '--json', '--layout', layout, data=wire)
        capture.add(layout, wire, [json.loads(line) for line in said.splitlines()])
    for layout, wire, wrong in (
            ('amqp', '01 0001 00000002 6162 cd', 'mismatch'),
            ('lintel', '4c55 01 00 00000000 00000000 00000000', 'mismatch'),
            ('tpkt', '04 00 0007 112233', 'mismatch'),
            ('bgp', 'ff' * 15 + 'fe 0013 04', 'mismatch'),
            ('u32', 'ffffffff 61', 'impossible'),
            ('postgres', '51 00000003', 'impossible'),
            ('kafka', 'ffffffff', 'impossible'),
            ('protobuf', '8000 61', 'impossible'),
            ('mqtt', '30 80808080 01', 'impossible')):
        capture.add(layout, bytes.fromhex(wire), wrong)
    missing = set(WANTED) - set(capture.ports)
    if missing:
        sys.exit('no vector for %s' % missing)

    shown = {}
    for packet in capture.show():
        ports = [int(next(find(packet, 'tcp.' + key))) for key in ('srcport', 'dstport')]
        proto = capture.wanted[tuple(ports)][1]
        shown.setdefault(tuple(ports), []).extend(find(packet, proto))
    frames = 0
    for ports, (about, proto, wanted) in capture.wanted.items():
        if isinstance(wanted, str):
            check_wrong(about, proto, shown.get(ports, []), wanted)
            continue
        if len(shown.get(ports, [])) != len(wanted):
            sys.exit('%s: shows %d frames, and has %d' %
                     (about, len(shown.get(ports, [])), len(wanted)))
        for one, frame in zip(shown.get(ports, []), wanted):
            check_frame(about, proto, one, frame)
            frames += 1
    print('%d layouts, %d connections, %d frames' %
          (len(capture.ports), len(capture.files), frames))


main()
