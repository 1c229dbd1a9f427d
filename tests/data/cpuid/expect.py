#!/usr/bin/env python3
"""Works out expected.tsv from dumps.tsv.

Written from the processor manuals and from what is public of NT's rules (README.md names both), apart from src/ke:
where the C code has a table for each version, this has a condition for each rule, with the versions that it holds in.
Run it in its own folder: python3 expect.py > expected.tsv
"""
import collections
import sys

VERSIONS = ("3.10 3.50 3.51 4.0-early 4.0-sp4 4.0-late 5.0 5.1-early 5.1-late 5.2-early 5.2-late 6.0-early 6.0-late "
            "6.1 6.2 6.3 10.0 1511 1607 1703 1709 1803 1809 1903 2004").split()
COLUMNS = ("processor first last string vendor id type model stepping cflush cores logical percore apic signature "
           "features").split()


class Version:
    """since("6.2"): this version or a later one; between() is inclusive. A plain 5.2 means all of it."""

    def __init__(self, label):
        self.label = label
        self.index = VERSIONS.index(label)

    def since(self, label):
        return self.index >= min(i for i, one in enumerate(VERSIONS) if one.split("-")[0] == label or one == label)

    def until(self, label):
        return self.index <= max(i for i, one in enumerate(VERSIONS) if one.split("-")[0] == label or one == label)

    def between(self, first, last):
        return self.since(first) and self.until(last)

    def is_(self, label):
        return self.between(label, label)


def bit(word, number):
    return bool(word >> number & 1)


def bits(word, high, low):
    return word >> low & (1 << high - low + 1) - 1


def power_of_two_at_least(number):
    return 1 << (number - 1).bit_length()


def maker(version, string):
    """Who made it, as far as the version knows; None for the rest."""
    known = {
        "GenuineIntel": version.since("3.50"),
        "AuthenticAMD": version.since("3.50"),
        "CyrixInstead": version.since("4.0"),
        "GenuineTMx86": version.since("5.1"),
        "CentaurHauls": version.since("5.1"),
        "RiseRiseRise": version.is_("5.1-late") or version.since("5.2-late"),
    }
    names = {
        "GenuineIntel": "INTEL", "AuthenticAMD": "AMD", "CyrixInstead": "CYRIX", "GenuineTMx86": "TRANSMETA",
        "CentaurHauls": "VIA", "RiseRiseRise": "RISE",
    }
    return names[string] if known.get(string) else None


def features(version, vendor, family, model, stepping, leaves):
    v = version
    intel, amd, cyrix = vendor == "INTEL", vendor == "AMD", vendor == "CYRIX"
    big_three = intel or amd or cyrix
    zero = (0, 0, 0, 0)
    _, _, ecx, edx = leaves[1]
    vme, pse, tsc, mce, cx8 = bit(edx, 1), bit(edx, 3), bit(edx, 4), bit(edx, 7), bit(edx, 8)
    sep, mtrr, pge, cmov = bit(edx, 11), bit(edx, 12), bit(edx, 13), bit(edx, 15)
    mmx = bit(edx, 23)

    # Flags that the version disregards.
    if not v.since("5.0"):
        # From 3.50 to 4.0 each flag is for chosen vendors.
        if v.until("3.51"):
            vme = False  # found and dropped
            tsc = tsc and (intel or amd)
            mce = mce and intel
            pse = pge = cmov = mtrr = cx8 = mmx = False
        else:
            vme, tsc, mmx = vme and big_three, tsc and big_three, mmx and big_three
            mtrr = mtrr and intel
            if v.is_("4.0-early"):
                cx8 = cx8 and big_three
                pse, pge, cmov = (flag and (intel or cyrix) for flag in (pse, pge, cmov))
            else:
                pse, pge, cmov = (flag and big_three for flag in (pse, pge, cmov))
    else:
        if amd and family < 5:
            pse = pge = cmov = False
        if v.between("5.1", "6.1") and amd and family == 5 and (model, stepping) <= (1, 3):
            pge = False
        if v.since("5.1"):
            if intel and (family, model, stepping) < (6, 3, 3):
                sep = False
            if vendor == "TRANSMETA" and family >= 5 and (model, stepping) >= (4, 2):
                cx8 = True
            if vendor == "VIA" and family >= 5:
                cx8 = True
            if vendor == "RISE":
                cx8 = True

    leaf6 = leaves.get(6, zero)
    leaf7 = leaves.get(7, zero)
    extended = leaves.get(0x80000001, zero)
    svm = leaves.get(0x8000000A, zero)
    if amd and family < 5:
        extended = svm = zero

    working_pte = not (intel and family == 6 and (model == 1 and stepping <= 9 or model == 3 and stepping <= 4))
    k6_mtrr = amd and family == 5 and (model == 8 and stepping >= 8 or model == 9)
    if v.is_("5.1"):
        bit18 = bit(edx, 28)
    else:
        bit18 = v.since("6.0") and bit(edx, 19)
    if v.is_("6.0"):
        bit20 = intel and bit(ecx, 16)
    else:
        bit20 = v.since("6.1") and amd and family >= 5
    smep = bit(leaf7[1], 7) and (intel and v.since("6.2") or amd and v.since("10.0"))

    found = {
        0: v.since("3.50") and vme,
        1: v.since("3.50") and tsc,
        2: v.between("3.50", "3.51") and mce or v.since("4.0") and (vme or pse or pge),
        3: v.since("4.0") and cmov,
        4: v.since("4.0") and pge,
        5: v.since("4.0") and pse,
        6: v.since("4.0") and mtrr,
        7: v.since("4.0") and cx8,
        8: v.since("4.0") and mmx,
        9: v.since("5.0") and working_pte,
        10: v.since("5.0") and bit(edx, 16),
        11: v.since("5.0") and bit(edx, 24),
        12: v.since("5.1") and sep,
        13: v.since("5.0") and bit(edx, 25),
        14: v.since("5.0") and amd and bit(extended[3], 31),
        15: v.between("5.0", "6.1") and k6_mtrr,
        16: v.since("5.1") and bit(edx, 26),
        17: v.since("5.1") and bit(edx, 21),
        18: bit18,
        19: v.since("6.0") and bit(ecx, 0),
        20: bit20,
        21: v.since("6.1") and intel and bit(leaf6[2], 1),
        23: v.since("6.1") and intel,
        24: smep,
        25: v.since("6.3") and bit(ecx, 30),
        26: v.since("6.2") and amd and bit(svm[3], 0),
        29: v.since("5.2-late") and bit(extended[3], 20),
        32: v.since("10.0") and bit(extended[3], 27),
        33: v.since("10.0") and intel and bit(leaf7[1], 23),
        34: v.since("10.0") and intel and bit(leaf6[0], 13),
    }
    return sum(1 << number for number, condition in found.items() if condition)


def expect(version, name, leaves):
    v = version
    highest, b, c, d = leaves[0]
    string = b"".join(word.to_bytes(4, "little") for word in (b, d, c)).decode("ascii")
    eax, ebx, _, edx = leaves[1]
    # The collection's own file name is a second witness.
    if not (name.startswith(string) and int(name[12:].split("_")[0], 16) == eax):
        sys.exit(name + ": the name contradicts the leaves")
    result = dict(string="-", vendor="NONE", id=0, type=5, model=0, stepping=0, cflush=0, cores=1, logical=1, percore=1,
                  apic=0, signature=0, features=0)
    if v.until("4.0-sp4") and highest > 3:
        return result  # taken for a Pentium without cpuid

    vendor = maker(v, string)
    long_family = not v.until("4.0-sp4")
    family, model, stepping = bits(eax, 11 if long_family else 10, 8), bits(eax, 7, 4), bits(eax, 3, 0)
    if v.since("5.1"):
        six_too = (vendor == "INTEL" and (v.is_("5.1-late") or v.since("5.2-late")) or
                   vendor == "VIA" and v.since("6.2"))
        if family == 15 or family == 6 and six_too:
            model += 16 * bits(eax, 19, 16)
        if family == 15:
            family += bits(eax, 27, 20)
    result.update(id=1, type=family, model=model, stepping=stepping)
    if v.since("3.50"):
        result["string"] = string.replace(" ", "~")

    limit = {0: highest, 0x80000000: 0}
    top = leaves.get(0x80000000, (0, 0, 0, 0))[0]
    if 0x80000000 < top <= 0x800000FF:
        limit[0x80000000] = top
    leaves = {leaf: value for leaf, value in leaves.items() if leaf <= limit[leaf & 0x80000000]}

    logical = bits(ebx, 23, 16) if bit(edx, 28) and bits(ebx, 23, 16) else 1
    if v.since("5.1"):
        result.update(apic=bits(ebx, 31, 24), logical=logical)
    if v.since("6.0"):
        cores = 1
        if vendor == "AMD":
            if 0x80000008 in leaves:
                cores = bits(leaves[0x80000008][2], 7, 0) + 1
        elif 4 in leaves:
            cores = bits(leaves[4][0], 31, 26) + 1
        if v.since("6.1"):
            cores = min(power_of_two_at_least(cores), 128)
        else:
            cores = min(cores, 255)
        result.update(vendor=vendor or "UNKNOWN", cflush=8 * bits(ebx, 15, 8), cores=cores,
                      percore=max(power_of_two_at_least(logical) // cores, 1))
    if v.since("1809"):
        result["signature"] = eax
    result["features"] = features(v, vendor, family, model, stepping, leaves)
    return result


def row(version, name, leaves):
    result = expect(version, name, leaves)
    result["signature"] = "%08X" % result["signature"]
    result["features"] = "%X" % result["features"]
    return [str(result[column]) for column in COLUMNS[3:]]


def main():
    dumps = collections.OrderedDict()
    with open("dumps.tsv", encoding="ascii") as file:
        next(file)
        for line in file:
            name, leaf, subleaf, *registers = line.rstrip("\n").split("\t")
            if int(subleaf, 16) == 0:
                dumps.setdefault(name, {}).setdefault(int(leaf, 16), tuple(int(word, 16) for word in registers))
    print("\t".join(COLUMNS))
    for name, leaves in dumps.items():
        rows = [row(Version(label), name, leaves) for label in VERSIONS]
        first = 0
        for index in range(1, len(VERSIONS) + 1):
            if index == len(VERSIONS) or rows[index] != rows[first]:
                print("\t".join([name, VERSIONS[first], VERSIONS[index - 1], *rows[first]]))
                first = index


main()
