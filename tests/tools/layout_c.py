"""Glue between headers that `lintel layout --c` prints and layout_c.c, printed to standard output.

layout_c.py LINTEL VECTORS FOLDER   writes FOLDER/tN.h for every known layout and every layout below
                                    and in VECTORS, with the prefix tN.
"""

import json
import os
import re
import subprocess
import sys

WATCHDOG = 100
NASTY = [
    '!H:version>>12=1,kind>>8&0xf,flags&0xff x 5s:key T:length-2 * I:sum B:end=0x24',
    '<H:words*4+8,a&0xf0 t:small T:three I:length&0xffffff,top>>24 *',
    'q:big Q:huge l:l i:length h:h b:b ?:yes d:real f:half c:one *',
    '<q:big=-5 Q:huge=0xffffffffffffffff i:length-6 d:d=-3 f:f=2 ?:b=1 t:t=-1 c:c=\'x\' *',
    '!Q:length&0xf0f0f0f0f0f0f0f0*3-2+1,rest&0x0f0f0f0f0f0f0f0f *',
    '!B:flags,reserved&0xf0=0x50 H:length*256-512 *',
    '!q:length-9223372036854775807 b:x-5+3 b:y+2 Q:z+9223372036854775807-1 B:w*3+1-2 *',
    '!B:header_size=1 2s:header=\'*/\' 2s:HEADER B:check B:init H:length B:set_length B:int B:_ *',
    '!H:length 3s:end * 3s:tail=hex:00ff00 q:q x:pad x B:last*2',
    'v:length-1 v:kind=300 3v:shared,low&0x7f=5,high>>14 *',
    '<3v:length&0xffff,more>>16 H:h t:t=-2 ?:yes d:real f:half=3 4s:text c:c 2x 3s:k=\'abc\' *',
    '2v:a*3-6 10v:length v:b+1 b:int b:Int_ B:LEN *',
    'H:length * v:one 2v:two-1 B:end=9',
    'v:length * B:end=0xCE h:h',
    'B:length * v:end=200',
    '=I:length&0x7fff,x>>15 *',
    '!Q:length&0xffffffff00000000 *',
    '!I:length,top>>28=3 *',
    '!B:length 60s:long *',
    '!B:pad 63x B:length 1s:one *',
    '!B:length B:never-300 *',
    '>H:length+9,version-1=5 *',
    '!B:length Q:x&5 I:y&3=2,z *',
    'v:length B:never-300 *',
]

lintel, vectors, folder = sys.argv[1:]


def run(*arguments, data=b''):
    return subprocess.run([lintel, *arguments], input=data, check=True, timeout=WATCHDOG,
                          stdout=subprocess.PIPE).stdout


def literal(data):
    return '"' + ''.join('\\x%02x' % byte for byte in data) + '"'


def views_of(layout):
    """Name, whether in the trailer, and size of each, out of what the program itself says."""
    text = run('layout', layout).decode()
    found = re.findall(r'^  (\w+) +(trailer )?(?:varint|byte (\d+)|bytes (\d+)-(\d+))', text, re.M)
    return [(name, bool(trailer), int(last or 0) - int(first or 0) + 1)
            for name, trailer, _, first, last in found]


class Run:
    """One of header and trailer: C functions that read it and write it."""

    def __init__(self, index, text, views, trailer):
        self.prefix = 't%d' % index
        self.name = 'trailer' if trailer else 'header'
        self.suffix = '_trailer' if trailer else ''
        self.text = text
        self.views = [(i, view[0]) for i, view in enumerate(views) if view[1] == trailer]
        self.sizes = {name: size for name, _, size in views}
        self.varints = 'struct %s_%s {' % (self.prefix, self.name) in text

    def getter(self, i, name):
        if name == 'length':
            return ['number = %s_length(bytes);' % self.prefix,
                    'if (number < 0) return -1;', 'put_number(&values[%d], (uint64_t)number);' % i]
        found = re.search(r'static inline (.*)%s_get_%s\(const void \*%s(.*)\)\n' %
                          (self.prefix, name, self.name), self.text)
        kind = found.group(1).strip()
        call = '%s_get_%s(bytes' % (self.prefix, name)
        if found.group(2):
            return ['if (%s, &wide) != 0) return -1;' % call, 'put_number(&values[%d], wide);' % i]
        return [self.put(kind, i, call + ')', kind.endswith('*') and self.sizes[name])]

    def put(self, kind, i, what, size):
        if size:
            return 'values[%d] = lintel_bytes(%s, %s);' % (i, what, size)
        if kind in ('float', 'double'):
            return 'values[%d] = lintel_float((double)%s);' % (i, what)
        if kind.startswith('int'):
            return 'values[%d] = lintel_int(%s);' % (i, what)
        return 'put_number(&values[%d], %s);' % (i, what)

    @staticmethod
    def refuse(kind, i):
        """What the parameter or member cannot even hold."""
        return ('if (!is_in_range(&values[%d], %d) || '
                '(uint64_t)(%s)get_number(&values[%d]) != get_number(&values[%d])) return -1;' %
                (i, kind.startswith('int'), kind, i, i))

    def members(self):
        body = self.text.split('struct %s_%s {' % (self.prefix, self.name))[1].split('};')[0]
        return re.findall(r'(\w+) (\w+)(?:\[(\d+)\])?;', body)

    def read(self):
        lines = []
        if self.varints:
            lines += ['static struct %s_%s made;' % (self.prefix, self.name),
                      'int used = %s_decode%s(&made, bytes, have);' % (self.prefix, self.suffix),
                      'if (used <= 0) return used;']
            for (i, _), (kind, member, size) in zip(self.views, self.members()):
                lines.append(self.put(kind, i, 'made.' + member, size))
            return lines + ['return used;']
        lines += ['int64_t number; uint64_t wide; int wrong;', '(void)number; (void)wide;',
                  'if (have < %s) return 0;' % self.fixed_size(),
                  'wrong = %s_check%s(bytes);' % (self.prefix, self.suffix),
                  'if (wrong != 0) return -wrong;']
        for i, name in self.views:
            lines += self.getter(i, name)
        return lines + ['return (int)%s;' % self.fixed_size()]

    def fixed_size(self):
        return '%s_%s_SIZE' % (self.prefix.upper(), self.name.upper())

    def write(self):
        if self.varints:
            lines = ['static struct %s_%s made;' % (self.prefix, self.name)]
            for (i, _), (kind, member, size) in zip(self.views, self.members()):
                if size:
                    lines.append('get_bytes(made.%s, %s, &values[%d]);' % (member, size, i))
                elif kind in ('float', 'double'):
                    lines.append('made.%s = (%s)values[%d].as.f;' % (member, kind, i))
                else:
                    lines += ['made.%s = (%s)get_number(&values[%d]);' % (member, kind, i),
                              self.refuse(kind, i)]
            return lines + ['return %s_encode%s(bytes, room, &made);' % (self.prefix, self.suffix)]
        lines = ['if (room < %s) return 0;' % self.fixed_size(),
                 '%s_init%s(bytes);' % (self.prefix, self.suffix)]
        for i, name in self.views:
            found = re.search(r'%s_set_%s\(void \*\w+, (.*)\)\n' % (self.prefix, name), self.text)
            if not found:
                continue
            if 'size_t' in found.group(1):
                value = 'values[%d].as.bytes, values[%d].size' % (i, i)
            elif found.group(1).split()[0] in ('float', 'double'):
                value = '(%s)values[%d].as.f' % (found.group(1).split()[0], i)
            elif found.group(1).split()[0] == 'int':
                value = 'get_number(&values[%d]) > 1 ? -1 : (int)values[%d].as.u' % (i, i)
            else:
                kind = found.group(1).split()[0]
                lines.append(self.refuse(kind, i))
                value = '(%s)get_number(&values[%d])' % (kind, i)
            lines.append('if (%s_set_%s(bytes, %s) != 0) return -1;' % (self.prefix, name, value))
        return lines + ['return (int)%s;' % self.fixed_size()]

    def functions(self):
        if not self.views and not re.search(r'%s_check%s\(' % (self.prefix, self.suffix), self.text):
            return 'NULL, NULL'
        print('static int read_%s_%s(const uint8_t *bytes, size_t have, struct lintel_value *values)'
              '\n{\n    (void)values;\n    %s\n}' %
              (self.prefix, self.name, '\n    '.join(self.read())))
        print('static int write_%s_%s(uint8_t *bytes, size_t room, const struct lintel_value *values)'
              '\n{\n    (void)values;\n    %s\n}' %
              (self.prefix, self.name, '\n    '.join(self.write())))
        return 'read_%s_%s, write_%s_%s' % (self.prefix, self.name, self.prefix, self.name)


def frames_of(layout, name):
    """Bytes as encode writes them, and what decode says, of each frame of a vector."""
    path = os.path.join(vectors, name)
    with open(os.path.join(path, 'wire.hex')) as file:
        wire = bytes.fromhex(re.sub('#.*', '', file.read()))
    if len(wire) > 100000:
        return
    limit = []
    if os.path.exists(os.path.join(path, 'max_frame')):
        with open(os.path.join(path, 'max_frame')) as file:
            limit = ['--max-frame', file.read().strip()]
    said = run('decode', '--json', '--layout', layout, *limit, data=wire)
    again = run('encode', '--json', '--layout', layout, *limit, data=said)
    if again != wire:
        wire, said = again, run('decode', '--json', '--layout', layout, *limit, data=again)
    objects = [json.loads(line) for line in said.splitlines()]
    for i, frame in enumerate(objects):
        end = objects[i + 1]['offset'] if i + 1 < len(objects) else len(wire)
        yield wire[frame['offset']:end], frame


def layout_of(name):
    path = os.path.join(vectors, name, 'layout')
    if not os.path.exists(path):
        return 'lintel'
    with open(path) as file:
        return file.read().rstrip('\n')


def main():
    names = sorted(os.listdir(vectors))
    layouts = [line.split()[0] for line in run('layout').decode().splitlines()] + NASTY
    layouts += sorted({layout_of(name) for name in names} - set(layouts))
    tests = []
    for i, layout in enumerate(layouts):
        text = run('layout', '--c', '--prefix', 't%d' % i, layout).decode()
        with open(os.path.join(folder, 't%d.h' % i), 'w') as file:
            file.write(text)
        print('#include "t%d.h"' % i)
        tests.append((i, layout, text))
    print('#ifdef LAYOUT_C_GLUE')
    rows = []
    for i, layout, text in tests:
        views = views_of(layout)
        header = Run(i, text, views, False).functions()
        trailer = Run(i, text, views, True).functions()
        escaped = layout.replace('\\', '\\\\').replace('"', '\\"')
        rows.append('    {"%s", t%d_view_name, %s, %s},' % (escaped, i, header, trailer))
    print('static const struct layout_test tests[] = {\n%s\n};' % '\n'.join(rows))
    print('static const struct frame_test frames[] = {')
    for name in names:
        layout = layout_of(name)
        for wire, frame in frames_of(layout, name):
            values = ' '.join('%s=%s' % item for item in frame['header'].items())
            print('    {"%s", &tests[%d], %s, %d, %d,\n     "%s"},' %
                  (name, layouts.index(layout), literal(wire), len(wire), frame['length'], values))
    print('};\n#endif')


main()
