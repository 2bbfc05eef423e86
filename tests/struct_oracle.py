"""Compare lintel's packing with CPython's struct. Usage: struct_oracle.py DRIVER CASES SEED"""
import random
import re
import struct
import subprocess
import sys

STANDARD = "xcbB?hHiIlLqQefdsp"
NATIVE = STANDARD + "nNP"
BLANKS = " \t\n\v\f\r"
JUNK = "yzkuvw@=<>!\"%-.5\x01\x7f"
DOUBLES = [0x0, 0x1, 0x000FFFFFFFFFFFFF, 0x0010000000000000, 0x7FEFFFFFFFFFFFFF, 0x7FF0000000000000,
           0x7FF8000000000000]
# Where the smaller formats begin, end and round: half, then single.
DOUBLES += [struct.unpack("<Q", struct.pack("<d", x))[0] for x in (
    1.0, 1.5, 0.1, 65504.0, 65519.99999, 65520.0, 65536.0, 2.0 ** -14, 2.0 ** -24, 2.0 ** -25,
    2.0 ** -25 * 1.0001, 2.0 ** -24 * 1.5, 6.103515625e-05 - 2.0 ** -25, 2049.0, 2051.0,
    3.4028234663852886e+38, 3.4028235677973362e+38, 3.4028235677973366e+38, 2.0 ** 128,
    2.0 ** -126, 2.0 ** -149, 2.0 ** -150, 2.0 ** -150 * 1.0001, 16777217.0, 16777219.0, 1e300)]
NANS = [0x7FF8000000000001, 0x7FFC040000000000, 0x7FFFFFFFFFFFFFFF, 0x7FF8000020000000]
SIGNALLING = [0x7FF0000000000001, 0x7FF4000000000000, 0x7FF0000020000000, 0x7FF7FFFFFFFFFFFF]


def double(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def bits_of(number):
    return struct.unpack("<Q", struct.pack("<d", number))[0]


# What becomes of a NaN's payload, and whether it still signals, is a matter of the CPython release
# and of the processor: compare it only where it is as lintel does it (the upper bits are kept).
HALF_NANS = struct.pack("<e", double(NANS[1])) == b"\x01\x7f" and \
    bits_of(struct.unpack("<e", b"\x01\x7c")[0]) == 0x7FF0040000000000
SINGLE_NANS = struct.pack("<f", double(SIGNALLING[1])) == b"\x00\x00\xa0\x7f" and \
    bits_of(struct.unpack("<f", b"\x01\x00\x80\x7f")[0]) == 0x7FF0000020000000


def without_empty_pascal(text):
    """CPython's 0p writes a byte behind its field and fails on the way in; here it is as 0s."""
    return re.sub(r"(?<!\d)(0+)p", r"\1s", text)


class Cases:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.lines = []
        self.expected = []

    def add(self, line, expected):
        self.lines.append(line)
        self.expected.append(expected)

    def format(self):
        r = self.random
        order = r.choice(["", "@", "=", "<", ">", "!"])
        codes = NATIVE if order in ("", "@") else STANDARD
        if r.random() < 0.3:
            codes = r.choice(["bBhHiIlLqQ", "bhilq", "BHILQ", "efd", "sp", "xcBH"])
        text = order
        for _ in range(r.choice([0, 1, 1, 2, 3, 4, 6, 8, 12])):
            if r.random() < 0.15:
                text += r.choice(BLANKS) * r.randint(1, 2)
            if r.random() < 0.35:
                text += r.choice(["0", "1", "2", "3", "5", "9", "007", "17", "300"])
            text += r.choice(codes)
        if r.random() < 0.08:
            at = r.randint(0, len(text))
            text = text[:at] + r.choice(JUNK + BLANKS + "nNP") + text[at:]
        if r.random() < 0.03:
            at = r.randint(0, len(text))
            text = text[:at] + str(r.choice([2 ** 31, 2 ** 62, 2 ** 63 - 1, 2 ** 63, 2 ** 64,
                                             2 ** 63 - 8, 10 ** 30])) + text[at:]
        return text

    def integer(self, code):
        r = self.random
        edge = 2 ** r.choice([0, 1, 7, 8, 15, 16, 31, 32, 63, 64, r.randint(0, 64)])
        value = r.choice([0, 1, 255, edge, edge - 1, edge + 1, r.getrandbits(64), r.getrandbits(7)])
        if code.islower() and r.random() < 0.5 or r.random() < 0.05:
            value = -value
        if code in "bBhHiIlLqQnN" and r.random() < 0.8:
            width = 8 * struct.calcsize(code)
            value %= 2 ** width
            if code.islower() and value >= 2 ** (width - 1):
                value -= 2 ** width
        return max(-2 ** 63, min(2 ** 64 - 1, value))

    def number(self, code):
        r = self.random
        nans = NANS + SIGNALLING if HALF_NANS and SINGLE_NANS or code == "d" else []
        pick = r.random()
        if pick < 0.4:
            bits = r.choice(DOUBLES + nans)
        elif pick < 0.6:
            bits = (r.choice(DOUBLES) + r.randint(-2, 2)) % 2 ** 63
            if bits > 0x7FF0000000000000:
                bits = 0x7FF8000000000000
        elif pick < 0.8:
            bits = bits_of(r.uniform(-70000, 70000))
        else:
            bits = r.getrandbits(63)
            if bits > 0x7FF0000000000000:
                bits = 0x7FF8000000000000
        if r.random() < 0.3:
            bits ^= 2 ** 63
        return double(bits)

    def bytes(self, size):
        return bytes(self.random.getrandbits(8) for _ in range(size))

    def value(self, code, count):
        r = self.random
        kind = code
        if r.random() < 0.02:
            kind = r.choice("Bds")
        elif code == "?":
            kind = r.choice("BBbds")
        elif code in "efd" and r.random() < 0.1:
            kind = "q"
        if kind in "efd":
            return self.number(code)
        if kind == "c":
            return self.bytes(1 if r.random() < 0.97 else r.randint(0, 2))
        if kind in "sp":
            return self.bytes(r.choice([0, 1, max(0, count - 1), count, count + 1, r.randint(0, 300)]))
        return self.integer(kind if kind == "P" or kind in "bBq" else code)

    def values(self, text):
        """Values for a format that CPython takes, one now and then missing or too many."""
        result = []
        for count, code in re.findall(r"(\d*)([a-zA-Z?])", text):
            count = int(count) if count else 1
            if code in "sp":
                result.append(self.value(code, count))
            elif code != "x":
                result += [self.value(code, 1) for _ in range(count)]
        if self.random.random() < 0.02 and result:
            result.pop()
        if self.random.random() < 0.02:
            result.append(0)
        return result

    def make_size(self, text):
        line = "C ." + text.encode("latin-1").hex()
        try:
            form = struct.Struct(without_empty_pascal(text).encode("latin-1"))
        except struct.error:
            self.add(line, "LINTEL_E_SYNTAX")
            return None
        self.add(line, "ok %d" % form.size)
        return form

    def make_pack(self, text, form):
        values = self.values(text)
        words = ["P", "." + text.encode("latin-1").hex()] + [self.word(v) for v in values]
        try:
            expected = "ok ." + form.pack(*values).hex()
        except (struct.error, OverflowError) as error:
            expected = "LINTEL_E_COUNT" if "items for packing" in str(error) else "LINTEL_E_RANGE"
        self.add(" ".join(words), expected)
        return expected

    def make_unpack(self, text, form, data):
        line = "U .%s .%s" % (text.encode("latin-1").hex(), data.hex())
        try:
            values = form.unpack(data)
        except struct.error:
            self.add(line, "LINTEL_E_SPACE")
            return
        codes = []
        for count, code in re.findall(r"(\d*)([a-zA-Z?])", text):
            if code != "x":
                codes += [code] * (1 if code in "sp" or not count else int(count))
        for code, value in zip(codes, values):
            if value != value and code != "d" and not (HALF_NANS and SINGLE_NANS):
                return
        words = [self.word(v, code) for code, v in zip(codes, values)]
        self.add(line, " ".join(["ok"] + words))

    def word(self, value, code=None):
        if isinstance(value, bytes):
            return "b" + value.hex()
        if isinstance(value, float):
            return "f%016x" % bits_of(value)
        value = int(value)
        signed = value < 0 or (code in "bhilqn" if code else self.random.random() < 0.4)
        return ("i%d" if signed and value < 2 ** 63 else "u%d") % value

    def make(self):
        text = self.format()
        form = self.make_size(text)
        if form is None or form.size > 8000:
            return
        expected = self.make_pack(text, form)
        if expected.startswith("ok"):
            self.make_unpack(text, form, bytes.fromhex(expected[4:]))
        size = form.size + (self.random.choice([-1, 1]) if self.random.random() < 0.05 else 0)
        self.make_unpack(text, form, self.bytes(max(0, size)))


def main():
    driver, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    cases = Cases(seed)
    while len(cases.lines) < count:
        cases.make()
    run = subprocess.run([driver], input="\n".join(cases.lines) + "\n", stdout=subprocess.PIPE,
                         text=True, timeout=300)
    answers = run.stdout.split("\n")[:-1]
    wrong = 0
    outcomes = {}
    for line, expected, answer in zip(cases.lines, cases.expected, answers):
        outcome = line[0] + " " + expected.split(" ")[0]
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if line[0] == "C" and expected.startswith("ok"):
            answer = " ".join(answer.split(" ")[:2])
        elif not expected.startswith("ok"):
            answer = answer.split(" ")[0]
        if answer != expected:
            wrong += 1
            if wrong <= 10:
                text = bytes.fromhex(line.split(" ")[1][1:])
                print("format %r\n  case     %.300s\n  CPython  %.300s\n  lintel   %.300s"
                      % (text, line, expected, answer))
    print("%d cases, %d differ; %s" % (len(cases.lines), wrong, ", ".join(
        "%s: %d" % item for item in sorted(outcomes.items()))))
    if run.returncode != 0 or len(answers) != len(cases.lines):
        print("the driver ended with %d after %d answers" % (run.returncode, len(answers)))
        wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
