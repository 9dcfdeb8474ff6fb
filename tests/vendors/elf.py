"""What the gate reads of 64-bit little-endian ELF files, Intel's binaries."""
import struct


def sections_of(path):
    """Bytes of each section by name; none if it is no such file."""
    with open(path, "rb") as f:
        data = f.read()
    if data[:5] != b"\x7fELF\x02":
        return {}
    table, size, count, names = struct.unpack_from("<Q", data, 0x28)[0], *struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
    bodies = [data[offset : offset + length] for _, _, _, _, offset, length in headers]
    return {text_at(bodies[names], header[0]): body for header, body in zip(headers, bodies)}


def text_at(strings, start):
    return strings[start : strings.index(b"\0", start)].decode()


def undefined_symbols(sections):
    symbols = struct.iter_unpack("<IBBHQQ", sections.get(".symtab", b""))
    return [text_at(sections[".strtab"], name) for name, _, _, section, _, _ in symbols if section == 0 and name]
