"""The instruction mix of a kernel: its PTX, run for some items with the whole-number arguments of a real launch, instructions counted by kind.

Numbers are followed exactly; what is loaded or computed in floating point is unknown, which no branch of a product's loops depends on. A run
stops after LIMIT instructions, deep in the loops that decide. Beside the counts it keeps what a lone item would wait for: `rounds`, how often
an instruction needs a value from global memory that is still on its way, and `waits`, the same of local memory, at most once between two
branches, where the compiler can move loads together. That other items fill the waits is for the model (src/tune/prediction.c).
"""
import re

LIMIT = 15000
DIVISION = 8  # instructions of a float division
MASK = {16: 0xFFFF, 32: 0xFFFFFFFF, 64: 0xFFFFFFFFFFFFFFFF}
FIELDS = ("products", "matrix", "other", "special", "local_bytes", "global_bytes", "rounds", "waits", "barriers")

STATEMENT = re.compile(r"(?:@(!?)(%p\d+)\s+)?([a-z][\w.:]*)\s*(.*)$", re.S)


def signed(value, bits):
    return value - (1 << bits) if value >> (bits - 1) else value


def bits_of(kind):
    found = re.search(r"\.[busf](16|32|64)", kind)
    return int(found[1]) if found else 32


def divide(a, b):
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


COMPARE = {"eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b,
           "ge": lambda a, b: a >= b, "lo": lambda a, b: a < b, "ls": lambda a, b: a <= b, "hi": lambda a, b: a > b, "hs": lambda a, b: a >= b}
ARITHMETIC = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": divide, "rem": lambda a, b: a - divide(a, b) * b,
    "min": min, "max": max, "and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << min(b, 64), "shr": lambda a, b: a >> min(b, 64), "mad": lambda a, b, c: a * b + c, "bfe": lambda a, b, c: a >> b & ((1 << c) - 1),
    "neg": lambda a: -a, "not": lambda a: ~a, "abs": abs, "mov": lambda a: a, "cvt": lambda a: a,
}


class Function:
    """A kernel's statements, and where its labels point."""

    def __init__(self, text):
        self.statements, self.labels = [], {}
        body = re.sub(r"//[^\n]*", "", text)
        for part in re.split(r";|(?<=:)\n", body):
            part = part.strip().lstrip("{}").strip()
            label = re.match(r"(\$?\w+):$", part)
            if label:
                self.labels[label[1]] = len(self.statements)
                continue
            m = STATEMENT.match(part)
            if m and not part.startswith("."):
                negated, predicate, kind, operands = m.groups()
                self.statements.append((predicate, negated == "!", kind, re.findall(r"\[[^\]]*\]|\{[^}]*\}|[^,{}\[\]\s]+", operands)))


def functions(ptx):
    """kernel -> Function"""
    found = {}
    for part in re.split(r"\.entry ", ptx)[1:]:
        name = re.match(r"\w+", part)[0]
        found[name] = Function(part[part.index("{") + 1 :].split("\n}")[0])
        found[name].parameters = re.findall(r"\.param \.(\w+)[^,)\n]*?(\w+)\s*[,)\n]", part[: part.index("{")])
    return found


class Run:
    """One item's."""

    def __init__(self, function, numbers, local, item, group):
        self.function, self.values = function, {}
        self.on_way = {"rounds": set(), "waits": set()}  # registers that loads from global and from local memory will fill
        self.waited = False  # for local memory since the last branch
        self.counts = dict.fromkeys(FIELDS, 0)
        for axis in range(3):
            for register, value in (("tid", item[axis]), ("ntid", local[axis]), ("ctaid", group[axis]), ("nctaid", 1 << 20)):
                self.values[f"%{register}.{'xyz'[axis]}"] = value
        for register in ("%envreg3", "%envreg4", "%envreg5"):
            self.values[register] = 0
        numbers = iter(numbers)
        self.parameters = {name: next(numbers, 1) if kind == "u32" else 0 if kind == "u64" else None for kind, name in function.parameters}

    def value(self, operand, bits):
        if operand[0] == "%":
            return self.values.get(operand)
        if re.fullmatch(r"-?\d+", operand):
            return int(operand) & MASK[bits]
        return None if operand.startswith("0f") else 0  # a variable's address

    def wait(self, operands):
        names = re.findall(r"%[a-z]+\d+", " ".join(operands))
        for kind, registers in self.on_way.items():
            if registers.intersection(names):
                self.counts[kind] += kind == "rounds" or not self.waited
                self.waited |= kind == "waits"
                registers.clear()

    def memory(self, kind, operands):
        parts = kind.split(".")
        space = parts[1] if parts[1] in ("shared", "global", "param", "const", "local") else "global"
        load = parts[0] == "ld"
        target, address = (operands[0], operands[1]) if load else (operands[1], operands[0])
        if space == "param":
            self.values[target] = self.parameters.get(re.sub(r"[\[\]]", "", address).strip())
            return
        for name in re.findall(r"%[a-z]+\d+", target) if load else []:
            self.values[name] = None
        size = bits_of(kind) // 8 * (4 if ".v4" in kind else 2 if ".v2" in kind else 1)
        self.wait([address] if load else operands)
        self.counts["other"] += 1
        if space in ("shared", "global"):
            self.counts["local_bytes" if space == "shared" else "global_bytes"] += size
            if load:
                self.on_way["waits" if space == "shared" else "rounds"].update(re.findall(r"%[a-z]+\d+", target))

    def compute(self, kind, operands):
        name, target, sources = kind.split(".")[0], operands[0], operands[1:]
        if name == "setp":
            bits, sign = bits_of(kind), re.search(r"\.s\d", kind)
            values = [self.value(s, bits) for s in sources[:2]]
            if None not in values and not re.search(r"\.f\d", kind):
                values = [signed(v, bits) if sign else v for v in values]
                self.values[target] = int(COMPARE[kind.split(".")[1]](*values))
            else:
                self.values[target] = 0
            return
        if name == "selp":
            chosen = sources[0] if self.values.get(sources[2]) else sources[1]
            self.values[target] = self.value(chosen, bits_of(kind))
            return
        self.values[target] = self.result(name, kind, sources)

    def result(self, name, kind, sources):
        """Of whole-number arithmetic; None: unknown."""
        if re.search(r"\.f(16|32|64)|\.bf16", kind) or name not in ARITHMETIC:
            return None
        if kind.endswith(".pred"):
            a, b = ([int(bool(self.value(s, 32))) for s in sources] + [0])[:2]  # true is written -1
            return {"and": a & b, "or": a | b, "not": 1 - a, "xor": a ^ b, "mov": a}.get(name, 0)
        types = re.findall(r"\.([busp])(\d+)", kind) or [("u", "32")]
        bits_in, bits_out = int(types[-1][1]), int(types[0][1])
        values = [self.value(s, bits_in) for s in sources]
        if None in values:
            return None
        if types[-1][0] == "s" and name not in ("and", "or", "xor"):
            values = [signed(v, bits_in) for v in values]
        result = ARITHMETIC[name](*values)
        if ".hi" in kind:
            result >>= bits_in
        return result & MASK[2 * bits_in if ".wide" in kind else bits_out]

    def count(self, kind, operands):
        """Issue slots. Moves, widenings and most address sums vanish in the machine's code."""
        name = kind.split(".")[0]
        if name in ("mov", "cvta") or re.match(r"cvt\.[su](64|32|16)\.[su](64|32|16)", kind):
            return
        self.wait(operands if name != "bar" else [])
        if name in ("mma", "fma"):
            self.counts["matrix" if name == "mma" else "products"] += 1
            return
        self.counts["special"] += name in ("ex2", "lg2", "rcp", "rsqrt", "sqrt", "sin", "cos", "div")
        self.counts["barriers"] += name == "bar"
        self.counts["other"] += DIVISION if name == "div" else 1
        self.waited &= name != "bar"

    def go(self):
        statements, labels = self.function.statements, self.function.labels
        at = done = 0
        while at < len(statements) and done < LIMIT:
            predicate, negated, kind, operands = statements[at]
            at += 1
            done += 1
            taken = predicate is None or bool(self.values.get(predicate)) != negated
            name = kind.split(".")[0]
            if name in ("ret", "exit"):
                if taken:
                    break
            elif name == "bra":
                self.counts["other"] += predicate is not None
                self.waited &= predicate is None
                if taken:
                    at = labels[operands[0]]
            elif not taken:
                continue
            elif name in ("ld", "st", "ldu"):
                self.memory(kind, operands)
            elif name in ("prmt", "mma", "ldmatrix", "bar", "cp"):
                for register in re.findall(r"%[a-z]+\d+", operands[0]) if operands and name != "bar" else []:
                    self.values[register] = None
                if name == "ldmatrix":
                    self.counts["local_bytes"] += 4 * max(1, len(re.findall("%", operands[0])))
                self.count(kind, operands)
            else:
                self.compute(kind, operands)
                self.count(kind, operands)
        return self.counts


def mix(function, numbers, local, groups):
    """Of the first and the last item of a group in the middle, per product: an fma, or where there is a matrix instruction one of those. None: no
    products."""
    total = dict.fromkeys(FIELDS, 0)
    for item in ((0, 0, 0), tuple(n - 1 for n in local)):
        for field, amount in Run(function, numbers, local, item, tuple(g // 2 for g in groups)).go().items():
            total[field] += amount
    products = total["matrix"] or total["products"]
    if not products:
        return None
    if total["matrix"]:
        total["other"] += total["products"]
    return {field: total[field] / products for field in FIELDS[2:]}
