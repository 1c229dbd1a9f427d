#!/usr/bin/env python3
"""Works out expected.tsv from dumps.tsv.

Written from the processor manuals and from what is public of NT's rules (README.md names both), apart from
src/ke/identify.c: where the C code walks tables of masks, this states each rule as a condition. Run it in its own
folder: python3 expect.py > expected.tsv
"""
import collections
import sys

VENDORS = {
    "GenuineIntel": "CPU_INTEL",
    "AuthenticAMD": "CPU_AMD",
    "CyrixInstead": "CPU_CYRIX",
    "GenuineTMx86": "CPU_TRANSMETA",
    "CentaurHauls": "CPU_VIA",
    "RiseRiseRise": "CPU_RISE",
}


def bit(word, number):
    return bool(word >> number & 1)


def bits(word, high, low):
    return word >> low & (1 << high - low + 1) - 1


def power_of_two_at_least(number):
    return 1 << (number - 1).bit_length()


def features(vendor, family, model, stepping, leaves):
    intel = vendor == "GenuineIntel"
    amd = vendor == "AuthenticAMD"
    zero = (0, 0, 0, 0)
    _, _, ecx, edx = leaves[1]
    step = (family, model, stepping)
    vme, pse, tsc, cx8 = bit(edx, 1), bit(edx, 3), bit(edx, 4), bit(edx, 8)
    sep, mtrr, pge, cmov, pat = bit(edx, 11), bit(edx, 12), bit(edx, 13), bit(edx, 15), bit(edx, 16)
    if intel and step < (6, 3, 3):
        sep = False
    if vendor == "RiseRiseRise" or vendor == "CentaurHauls" and family >= 5:
        cx8 = True
    if vendor == "GenuineTMx86" and family >= 5 and (model, stepping) >= (4, 2):
        cx8 = True
    working_pte = not (intel and ((6, 1, 0) <= step <= (6, 1, 9) or (6, 3, 0) <= step <= (6, 3, 4)))
    leaf6 = leaves.get(6, zero)
    leaf7 = leaves.get(7, zero)
    extended = leaves.get(0x80000001, zero)
    conditions = [
        vme, tsc, vme or pse or pge, cmov,                       # V86_VIS RDTSC CR4 CMOV
        pge, pse, mtrr, cx8,                                     # GLOBAL_PAGE LARGE_PAGE MTRR CMPXCHG8B
        bit(edx, 23), working_pte, pat, bit(edx, 24),            # MMX WORKING_PTE PAT FXSR
        sep, bit(edx, 25), amd and bit(extended[3], 31), False,  # FAST_SYSCALL XMMI 3DNOW AMDK6MTRR
        bit(edx, 26), bit(edx, 21), bit(edx, 19), bit(ecx, 0),   # XMMI64 DTS CLFSH SSE3
        amd and family >= 5, intel and bit(leaf6[2], 1), False, intel,
        (intel or amd) and bit(leaf7[1], 7), bit(ecx, 30), False, False,  # SMEP RDRAND
        False, bit(extended[3], 20), False, False,               # - NX_BIT
        bit(extended[3], 27), intel and bit(leaf7[1], 23), intel and bit(leaf6[0], 13),
    ]
    return sum(1 << number for number, condition in enumerate(conditions) if condition)


def expect(name, leaves):
    highest, b, c, d = leaves[0]
    vendor = b"".join(word.to_bytes(4, "little") for word in (b, d, c)).decode("ascii")
    eax, ebx, _, edx = leaves[1]
    # The collection's own file name is a second witness.
    if not (name.startswith(vendor) and int(name[12:].split("_")[0], 16) == eax):
        sys.exit(name + ": the name contradicts the leaves")
    family, model, stepping = bits(eax, 11, 8), bits(eax, 7, 4), bits(eax, 3, 0)
    if family == 15 or family == 6 and vendor in ("GenuineIntel", "CentaurHauls"):
        model += 16 * bits(eax, 19, 16)
    if family == 15:
        family += bits(eax, 27, 20)
    limit = {0: highest, 0x80000000: 0}
    top = leaves.get(0x80000000, (0, 0, 0, 0))[0]
    if 0x80000000 < top <= 0x800000FF:
        limit[0x80000000] = top
    leaves = {leaf: value for leaf, value in leaves.items() if leaf <= limit[leaf & 0x80000000]}
    cores = 1
    if vendor == "AuthenticAMD":
        if 0x80000008 in leaves:
            cores = bits(leaves[0x80000008][2], 7, 0) + 1
    elif 4 in leaves:
        cores = bits(leaves[4][0], 31, 26) + 1
    cores = min(power_of_two_at_least(cores), 128)
    logical = bits(ebx, 23, 16) if bit(edx, 28) and bits(ebx, 23, 16) else 1
    per_core = max(power_of_two_at_least(logical) // cores, 1)
    flags = features(vendor, family, model, stepping, leaves)
    return [vendor.replace(" ", "~"), VENDORS.get(vendor, "CPU_UNKNOWN"), family, model, stepping, 8 * bits(ebx, 15, 8),
            cores, logical, per_core, bits(ebx, 31, 24), "%08X" % eax, "%X" % flags]


def main():
    dumps = collections.OrderedDict()
    with open("dumps.tsv", encoding="ascii") as file:
        next(file)
        for line in file:
            name, leaf, subleaf, *registers = line.rstrip("\n").split("\t")
            if int(subleaf, 16) == 0:
                dumps.setdefault(name, {}).setdefault(int(leaf, 16), tuple(int(word, 16) for word in registers))
    print("\t".join("processor string vendor type model stepping cflush cores logical percore apic signature features"
                    .split()))
    for name, leaves in dumps.items():
        print("\t".join(str(value) for value in [name, *expect(name, leaves)]))


main()
