#!/usr/bin/env python3
"""Write corpus.txt: what C zlib makes of many inputs.

Usage: python3 make_corpus.py [--check]

Inputs are not stored. Both this script and generators_test.go make them from
a generator's name, a seed and a size; README.md describes the generators. With
--check the file is compared with what would be written, and left alone.
"""

import base64
import hashlib
import os
import sys
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "corpus.txt")
INLINE = 64  # outputs up to this length are given in full


class Stream:
    """Deterministic random bytes: SHA-256 of "label counter", one after the other."""

    def __init__(self, label):
        self.label, self.counter, self.buffer, self.at = label, 0, b"", 0

    def bytes(self, n):
        while len(self.buffer) - self.at < n:
            need = n - (len(self.buffer) - self.at)
            blocks = [self.buffer[self.at:]]
            for _ in range(max(128, (need + 31) // 32)):
                blocks.append(hashlib.sha256(b"%s %d" % (self.label, self.counter)).digest())
                self.counter += 1
            self.buffer, self.at = b"".join(blocks), 0
        self.at += n
        return self.buffer[self.at - n:self.at]

    def below(self, n):
        """A number from 0 to n-1 (not quite uniform, which does not matter)."""
        return int.from_bytes(self.bytes(4), "big") % n

    def geometric(self, percent, limit):
        """How often in a row, at most limit, a chance of percent comes true."""
        n = 0
        while n < limit and self.below(100) < percent:
            n += 1
        return n


def constant(r, size, value):
    return bytes([value]) * size


def alphabet(r, size, symbols, lowest):
    return r.bytes(size).translate(bytes(min(lowest + (b * symbols >> 8), 255) for b in range(256)))


def skewed(r, size, percent, limit):
    return bytes(r.geometric(percent, limit) for _ in range(size))


def period(r, size, length, symbols, errors):
    block = alphabet(r, length, symbols, 0)
    out = bytearray((block * (size // length + 1))[:size])
    for _ in range(errors if size else 0):
        p = r.below(size)
        out[p] = r.below(256)
    return bytes(out)


def echo(r, size, distance, length, step, offset):
    out = bytearray(alphabet(r, size, 200, 0))  # less than 256, or the blocks would be stored
    for p in range(offset, size, step):
        if p >= distance:
            piece = out[p - distance:p - distance + length]
            out[p:p + length] = piece
    return bytes(out[:size])


def chain(r, size, tries, length):
    phrase = alphabet(r, length, 100, 100)
    out = bytearray()
    while len(out) < size:
        out += b"abc" + phrase
        for _ in range(tries - 1):
            out += b"abc" + alphabet(r, 4, 100, 0)
    return bytes(out[:size])


def held(r, size, tries, length):
    phrase, more = alphabet(r, length, 100, 100), alphabet(r, 10, 100, 100)
    out = bytearray(b"-")  # what comes first is never found
    while len(out) < size:
        out += b"abc" + phrase + more
        out += b"Zabc" + phrase
        for _ in range(tries - 2):
            out += b"abc" + alphabet(r, 4, 90, 0)
        out += b"Zabc" + phrase + more
    return bytes(out[:size])


def copy_back(out, distance, length):
    """Append length bytes from distance back, which may overlap themselves."""
    start = len(out) - distance
    if length <= distance:
        out += out[start:start + length]
    else:
        out += (bytes(out[start:]) * (length // distance + 1))[:length]


def copies(r, size, symbols, literals, longest, farthest):
    out = bytearray(alphabet(r, 16, symbols, 0))
    while len(out) < size:
        if r.below(100) < literals:
            out += alphabet(r, 1 + r.below(4), symbols, 0)
        else:
            length = 2 + r.below(longest)
            copy_back(out, 1 + r.below(min(farthest, len(out))), length)
    return bytes(out[:size])


def lengths(r, size, percent, least):
    steps = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99,
             115, 131, 163, 195, 227, 258]
    book = alphabet(r, 8192, 255, 0)
    out = bytearray(book)
    while len(out) < size:
        n = max(least, steps[r.geometric(percent, len(steps) - 1)])
        p = r.below(len(book) - n)
        out += book[p:p + n] + b"\xff"
    return bytes(out[:size])


def distances(r, size, percent, length):
    out = bytearray(r.bytes(256))
    while len(out) < size:
        d = 1 << min(1 + r.geometric(percent, 14), len(out).bit_length() - 1)
        copy_back(out, d - r.below(d // 2), length)
        out += r.bytes(1)
    return bytes(out[:size])


TEXTS = {}


def text(r, size, language):
    if language not in TEXTS:
        with open(os.path.join(HERE, "texts", language + ".txt"), "rb") as f:
            TEXTS[language] = f.read().split()
    words, out, count = TEXTS[language], bytearray(), 0
    space = b"" if language in ("zh", "ja") else b" "
    while len(out) < size:
        count += 1
        out += words[r.below(len(words))] + (b"\n" if count % 13 == 0 else space)
    return bytes(out[:size])


def source_code(r, size):
    names = b"count index buffer result packet header node left right total size".split()
    out, depth = bytearray(), 0
    while len(out) < size:
        a, b, n = names[r.below(11)], names[r.below(11)], r.below(1000)
        kind = r.below(6)
        if kind == 5 and depth > 0:
            depth -= 1
        line = (b"%s := %s + %d", b"if %s < len(%s) && %d > 0 {", b"%s.%s[%d] = nil",
                b"// %s must not be less than %s, see section %d", b"return %s, fmt.Errorf(\"%s: %d\")",
                b"} // %s %s %d")[kind] % (a, b, n)
        out += b"\t" * depth + line + b"\n"
        if kind == 1:
            depth += 1
    return bytes(out[:size])


def table(r, size):
    out, row = bytearray(), 0
    while len(out) < size:
        row += 1 + r.below(3)
        out += b"%08d;%d;%d.%02d;%s\n" % (row, r.below(10), r.below(100000), r.below(100),
                                         (b"ok", b"late", b"lost")[r.below(3)])
    return bytes(out[:size])


def records(r, size):
    out, row = bytearray(), 0
    while len(out) < size:
        row += r.below(4)
        out += row.to_bytes(4, "little") + bytes(6) + bytes([r.below(8), 0]) + r.bytes(r.below(5))
    return bytes(out[:size])


MIXED = ["random", "text:en", "text:ru", "text:ja", "code", "table", "records", "constant:0",
         "base64/random", "hex/random", "copies:4:30:12:5000", "copies:256:50:40:40000",
         "skewed:62:20", "alphabet:2:48", "alphabet:130:120", "period:1000:256:0"]


def mixed(r, size, largest):
    out = bytearray()
    while len(out) < size:
        name = MIXED[r.below(len(MIXED))]
        seed = r.below(1000)
        out += generate(name, seed, 1 + r.below(largest))
    return bytes(out[:size])


GENERATORS = {
    "constant": constant, "random": lambda r, size: r.bytes(size), "alphabet": alphabet,
    "skewed": skewed, "period": period, "echo": echo, "chain": chain,
    "held": held, "copies": copies, "lengths": lengths,
    "distances": distances, "text": text, "code": source_code, "table": table,
    "records": records, "mixed": mixed,
}


def generate(name, seed, size):
    """The input of a case. An encoding may stand before the name: hex/text:en."""
    encoding, _, inner = name.rpartition("/")
    if encoding == "base64":
        return base64.encodebytes(generate(inner, seed, size))[:size]
    if encoding == "hex":
        return generate(inner, seed, size).hex().encode()[:size]
    kind, *arguments = name.split(":")
    arguments = [int(a) if a.isdigit() else a for a in arguments]
    return GENERATORS[kind](Stream(b"%s %d" % (name.encode(), seed)), size, *arguments)


def compress(data):
    c = zlib.compressobj(9, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY)
    return c.compress(data) + c.flush()


def cases():
    """Yield (generator, seed, size). Append new ones at the end."""
    # Tiny inputs: nothing, one byte, the first possible matches.
    for size in range(0, 12):
        yield "constant:97", 0, size
    for size in range(1, 21):
        yield "alphabet:2:97", size, size
    for size in range(258, 266):
        yield "constant:0", 0, size
    for size in (520, 1000, 4096, 32768, 65536, 100000, 1000000):
        yield "constant:0", 0, size
    for size in (255, 511, 515, 516, 517, 518, 519):
        yield "constant:255", 0, size

    # Between stored, fixed and dynamic blocks; ties among them.
    for size in range(1, 61):
        yield "alphabet:112:144", 1, size
    for size in range(30, 330, 4):
        yield "alphabet:40:80", 2, size
    for size in range(20, 260, 4):
        yield "text:en", 3, size
    for k in (100, 140, 160, 180, 200, 220, 240, 250):
        for size in (400, 1500, 16383, 20000):
            yield "alphabet:%d:%d" % (k, 256 - k), 4, size

    # Ends of blocks: 16383 literals and matches.
    for size in list(range(16380, 16388)) + [32765, 32766, 32767, 32768, 32769, 49149, 49150, 65535]:
        yield "random", 5, size
    for offset in (16380, 16381, 16382, 16383):
        for length in (3, 4, 9):
            yield "echo:1000:%d:100000:%d" % (length, offset), 6, offset + length
    for size in (16383, 16384, 40000, 70000):
        yield "alphabet:2:0", 7, size
        yield "alphabet:3:0", 7, size
        yield "alphabet:16:48", 7, size
        yield "alphabet:64:64", 7, size

    # The window: its ends, its moves, and the first byte in it.
    for size in (32500, 32506, 32507, 32767, 32768, 32769, 65012, 65273, 65274, 65275, 65276,
                 65535, 65536, 65537, 65798, 98041, 98042, 98043, 98304, 131072, 163840):
        yield "mixed:300", 8, size
        yield "copies:16:30:10:33000", 8, size
    for distance in (32504, 32505, 32506, 32507, 32508, 32767, 32768):
        yield "echo:%d:5:11:0" % distance, 9, 70000
        yield "echo:%d:40:1000:3" % distance, 9, 140000
        yield "period:%d:256:0" % distance, 9, 100000
        yield "period:%d:4:20" % distance, 9, 80000
    for size in (65277, 65278, 65279, 65280, 65300, 65534, 65535, 65536, 65537, 65600):
        yield "echo:32506:6:100000:65274", 10, size
        yield "echo:32505:6:100000:65274", 10, size
        yield "echo:32506:6:100000:65275", 10, size
    for size in (98045, 98046, 98048, 98303, 98304, 98305):
        yield "echo:32506:5:1000000:98042", 11, size
        yield "echo:32506:5:1000000:98043", 11, size
    for distance in (1, 2, 3, 7, 100, 4095, 4096, 4097, 32505, 32506, 32507):
        yield "echo:%d:7:1000000:%d" % (distance, distance), 12, distance + 50

    # Matches of three bytes near the distance where they stop to pay.
    for distance in (4094, 4095, 4096, 4097, 4098):
        for length in (3, 4):
            yield "echo:%d:%d:10:0" % (distance, length), 13, 20000

    # Long chains, long matches, lazy evaluation.
    for length in (1, 2, 3, 4, 5, 31, 32, 33, 257, 258, 259, 516):
        yield "period:%d:256:0" % length, 14, 10000
        yield "period:%d:2:30" % length, 14, 30000
    for symbols in (1, 2, 4, 16, 64, 256):
        for longest in (3, 6, 30, 300):
            for farthest in (10, 4096, 40000):
                yield "copies:%d:25:%d:%d" % (symbols, longest, farthest), 15, 24000
    for literals in (0, 5, 60, 95):
        yield "copies:256:%d:8:5000" % literals, 16, 60000
        yield "copies:3:%d:20:32768" % literals, 16, 120000

    # The last earlier position that is tried.
    for tries in (4094, 4095, 4096, 4097, 4098):
        yield "chain:%d:20" % tries, 16, 60000
    for tries in (1022, 1023, 1024, 1025, 1026):
        yield "held:%d:40" % tries, 16, 8000

    # Prefix codes that would become too long.
    for percent in (40, 50, 55, 60, 62, 65, 70, 80):
        yield "skewed:%d:40" % percent, 17, 20000
        yield "lengths:%d:3" % percent, 17, 120000
        yield "lengths:%d:4" % percent, 18, 200000
        yield "distances:%d:4" % percent, 17, 60000
        yield "distances:%d:12" % percent, 18, 100000

    # What people send.
    for language in ("en", "de", "fr", "ru", "el", "ar", "zh", "ja", "hi"):
        for size in (50, 700, 5000, 28000, 28650, 100000):
            yield "text:" + language, 19, size
        yield "base64/text:" + language, 20, 9000
        yield "hex/text:" + language, 20, 9000
    for kind in ("code", "table", "records", "base64/random", "hex/random"):
        for size in (100, 3000, 28000, 150000):
            yield kind, 21, size
    for seed in range(30):
        yield "mixed:5000", 100 + seed, 20000 + 977 * seed
    for seed in range(8):
        yield "mixed:40000", 200 + seed, 300000

    # Large.
    yield "text:en", 22, 600000
    yield "text:ru", 22, 1000000
    yield "random", 22, 3000000
    yield "code", 22, 1000000
    yield "base64/random", 22, 1500000
    yield "constant:32", 22, 3000000
    yield "copies:256:20:300:40000", 22, 2000000
    yield "mixed:100000", 22, 3000000


def corpus():
    lines = ["# Outputs of C zlib, level 9. Made by make_corpus.py; do not edit.\n",
             "# generator seed size sha256(input) length-of-output sha256(output) [output]\n"]
    for name, seed, size in cases():
        data = generate(name, seed, size)
        assert len(data) == size, name
        out = compress(data)
        assert out[:2] == b"\x78\xda" and zlib.decompress(out) == data
        fields = [name, str(seed), str(size), hashlib.sha256(data).hexdigest(),
                  str(len(out)), hashlib.sha256(out).hexdigest()]
        if len(out) <= INLINE:
            fields.append(out.hex())
        lines.append(" ".join(fields) + "\n")
    return "".join(lines)


def main():
    new = corpus()
    if "--check" in sys.argv[1:]:
        with open(CORPUS, encoding="ascii") as f:
            if f.read() != new:
                sys.exit("corpus.txt differs from what zlib %s gives" % zlib.ZLIB_RUNTIME_VERSION)
        return
    with open(CORPUS, "w", encoding="ascii", newline="\n") as f:
        f.write(new)
    print("%d cases, zlib %s" % (new.count("\n") - 2, zlib.ZLIB_RUNTIME_VERSION))


if __name__ == "__main__":
    main()
