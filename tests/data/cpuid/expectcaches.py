#!/usr/bin/env python3
"""Works out caches.tsv from dumps.tsv.

Written from Intel's and AMD's descriptions of cpuid and from what is public of NT's use of it (README.md names them),
apart from src/ke. Run it in its own folder: python3 expectcaches.py > caches.tsv
"""
import collections
import re

# Windows versions that have the members, and which of them can know a leaf of 2010.
VERSIONS = "6.0-early 6.0-late 6.1 6.2 6.3 10.0 1511 1607 1703 1709 1803 1809 1903 2004".split()
KNOWS_1D = VERSIONS[3:]
ASKS_CENTAUR = VERSIONS[3:]

# Leaf 2: "descriptor: level+kind size ways line".
LEAF2 = {}
for entry in """
06:1I 8K 4 32|08:1I 16K 4 32|09:1I 32K 4 64|0A:1D 8K 2 32|0C:1D 16K 4 32|0D:1D 16K 4 64|0E:1D 24K 6 64|2C:1D 32K 8 64
30:1I 32K 8 64|60:1D 16K 8 64|66:1D 8K 4 64|67:1D 16K 4 64|68:1D 32K 4 64|70:1T 12K 8 0|71:1T 16K 8 0|72:1T 32K 8 0
1D:2U 128K 2 64|21:2U 256K 8 64|24:2U 1M 16 64|39:2U 128K 4 64|3A:2U 192K 6 64|3B:2U 128K 2 64|3C:2U 256K 4 64
3D:2U 384K 6 64|3E:2U 512K 4 64|41:2U 128K 4 32|42:2U 256K 4 32|43:2U 512K 4 32|44:2U 1M 4 32|45:2U 2M 4 32
48:2U 3M 12 64|49:2U 4M 16 64|4E:2U 6M 24 64|78:2U 1M 4 64|79:2U 128K 8 64|7A:2U 256K 8 64|7B:2U 512K 8 64
7C:2U 1M 8 64|7D:2U 2M 8 64|7F:2U 512K 2 64|80:2U 512K 8 64|82:2U 256K 8 32|83:2U 512K 8 32|84:2U 1M 8 32
85:2U 2M 8 32|86:2U 512K 4 64|87:2U 1M 8 64|22:3U 512K 4 64|23:3U 1M 8 64|25:3U 2M 8 64|29:3U 4M 8 64
46:3U 4M 4 64|47:3U 8M 8 64|4A:3U 6M 12 64|4B:3U 8M 16 64|4C:3U 12M 12 64|4D:3U 16M 16 64|D0:3U 512K 4 64
D1:3U 1M 4 64|D2:3U 2M 4 64|D6:3U 1M 8 64|D7:3U 2M 8 64|D8:3U 4M 8 64|DC:3U 1536K 12 64|DD:3U 3M 12 64
DE:3U 6M 12 64|E2:3U 2M 16 64|E3:3U 4M 16 64|E4:3U 8M 16 64|EA:3U 12M 24 64|EB:3U 18M 24 64|EC:3U 24M 24 64
""".replace("\n", "|").strip("|").split("|"):
    found = re.fullmatch(r"(..):(\d\w) (\d+)([KM]) (\d+) (\d+)", entry)
    size = int(found[3]) * {"K": 1 << 10, "M": 1 << 20}[found[4]]
    LEAF2[int(found[1], 16)] = (found[2], size, int(found[5]), int(found[6]))

# AMD's code for the ways of the second and third level.
WAYS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 16, 9: 0, 0xA: 32, 0xB: 48, 0xC: 64, 0xD: 96, 0xE: 128, 0xF: 255}


def field(word, high, low):
    return word >> low & (1 << high - low + 1) - 1


def parameters(dump, leaf):
    """The list of leaf 4 or 0x8000001D: caches, and whether its end is recorded."""
    caches = {}
    for subleaf in range(64):
        if (leaf, subleaf) not in dump:
            return caches, False
        a, b, c, _ = dump[leaf, subleaf]
        kind = {1: "D", 2: "I", 3: "U"}.get(field(a, 4, 0))
        if kind is None:
            return caches, subleaf > 0
        ways = field(b, 31, 22) + 1
        size = ways * (field(b, 21, 12) + 1) * (field(b, 11, 0) + 1) * (c + 1)
        name = "%d%s" % (field(a, 7, 5), kind)
        caches[name] = (size, 255 if field(a, 9, 9) else ways, field(b, 11, 0) + 1, field(a, 25, 14) + 1)
    raise ValueError("endless")


def power(number):
    return 1 << (number - 1).bit_length()


def expect(name, dump, version):
    highest, b, c, d = dump[0, 0]
    vendor = b"".join(word.to_bytes(4, "little") for word in (b, d, c)).decode("ascii")
    a, b, _, d = dump[1, 0]
    family, model, stepping = field(a, 11, 8), field(a, 7, 4), field(a, 3, 0)
    top = dump.get((0x80000000, 0), (0,))[0]
    if not 0x80000000 < top <= 0x800000FF:
        top = 0
    dump = {key: value for key, value in dump.items() if key[0] <= (top if key[0] >> 31 else highest)}
    amd, intel, centaur = (vendor == one for one in ("AuthenticAMD", "GenuineIntel", "CentaurHauls"))
    # Threads of a package and of a core, as the kernel of that version counts them.
    threads = field(b, 23, 16) if field(d, 28, 28) and field(b, 23, 16) else 1
    if amd:
        cores = field(dump.get((0x80000008, 0), (0, 0, 0, 0))[2], 7, 0) + 1
    else:
        cores = field(dump.get((4, 0), (0,))[0], 31, 26) + 1
    if version in VERSIONS[2:]:
        cores = min(power(cores), 128)
    core_threads = max(power(threads) // cores, 1)

    caches, complete = ({}, False) if amd else parameters(dump, 4)
    if not complete and version in KNOWS_1D and field(dump.get((0x80000001, 0), (0, 0, 0, 0))[2], 22, 22):
        more, complete = parameters(dump, 0x8000001D)
        caches = {**more, **caches}
    if complete:
        return caches
    if intel or centaur and version in ASKS_CENTAUR:
        for place, word in enumerate(dump.get((2, 0), ())):
            for at in range(1 if place == 0 else 0, 4):
                descriptor = field(word, 8 * at + 7, 8 * at)
                if word >> 31 == 0 and descriptor in LEAF2:
                    what, size, ways, line = LEAF2[descriptor]
                    if descriptor == 0x49 and (family, model) == (15, 6):
                        what = "3U"
                    share = threads if cores == 1 else core_threads if what[0] == "1" else 0
                    caches.setdefault(what, (size, ways, line, share))
    if amd:
        five = dump.get((0x80000005, 0), (0, 0, 0, 0))
        six = dump.get((0x80000006, 0), (0, 0, 0, 0))
        for what, word in ("1D", five[2]), ("1I", five[3]):
            if field(word, 31, 24):
                caches.setdefault(what, (field(word, 31, 24) << 10, field(word, 23, 16), field(word, 7, 0), core_threads))
        second = field(six[2], 31, 16) << 10
        if (family, model, stepping) == (6, 3, 0):
            second = 64 << 10
        for what, size, word, share in (("2U", second, six[2], core_threads),
                                        ("3U", field(six[3], 31, 18) << 19, six[3], threads)):
            if size and field(word, 15, 12):
                caches.setdefault(what, (size, WAYS.get(field(word, 15, 12), 0), field(word, 7, 0), share))
    return caches


def text(caches):
    order = sorted(caches, key=lambda what: (what[0], "DITU".index(what[1])))
    return " ".join("L%s:%d:%d:%d:%d" % (what, *caches[what]) for what in order) or "-"


def main():
    dumps = collections.OrderedDict()
    with open("dumps.tsv", encoding="ascii") as file:
        next(file)
        for line in file:
            name, leaf, subleaf, *registers = line.rstrip("\n").split("\t")
            dumps.setdefault(name, {})[int(leaf, 16), int(subleaf, 16)] = tuple(int(word, 16) for word in registers)
    print("processor\tfirst\tlast\tcaches")
    for name, dump in dumps.items():
        rows = [text(expect(name, dump, version)) for version in VERSIONS]
        first = 0
        for index in range(1, len(VERSIONS) + 1):
            if index == len(VERSIONS) or rows[index] != rows[first]:
                print("\t".join([name, VERSIONS[first], VERSIONS[index - 1], rows[first]]))
                first = index


main()
