"""One OpenCL program out of several: sources one after the other, each with its macros, and with every name that it defines at file scope
ending in its number. A name that is missed here is defined twice, and the program does not compile."""
import functools
import re

KERNEL = re.compile(r"^(?:SIMD16\s+)?(?:__kernel\b[^{;#]*?\bvoid|\w+_KERNEL)\s+(\w+)\s*\([^{;#]*\{.*?^\}\n", re.M | re.S)


def suffix(number):
    return f"_v{number}"


def number(name):
    """Of the program that a suffixed name is from."""
    return int(name[name.rindex("_v") + len("_v") :])


def pasted_functions(text):
    """Functions of macros like `#define F(n) static inline float##n f_##n(...)`, for each F(2) of the source."""
    names = set()
    for macro, prefix in re.findall(r"#define (\w+)\(\w+\)\s*\\\n[^\n]*?\binline [^\n(]*?\b(\w+_)##\w+\(", text):
        names.update(prefix + argument for argument in re.findall(rf"^{macro}\((\w+)\)", text, re.M))
    return names


@functools.lru_cache(maxsize=None)
def file_scope_names(text):
    names = set(re.findall(r"(?:\bvoid|_KERNEL)\s+(\w+)\s*\(", text)) | set(re.findall(r"\binline\s+[\w\s*]*?(\w+)\s*\(", text))
    names.update(re.findall(r"^typedef [^;{]*?(\w+);", text, re.M), re.findall(r"^typedef struct (\w+)", text, re.M))
    for constants in re.findall(r"^enum \{([^}]*)\}", text, re.M):
        names.update(re.findall(r"[A-Za-z_]\w*", constants))
    return names | pasted_functions(text)


@functools.lru_cache(maxsize=None)
def macros(text):
    return frozenset(re.findall(r"^\s*#\s*define\s+(\w+)", text, re.M))


def without_other_kernels(text, kernels):
    """The source without the kernels that are not in `kernels`, as far as they are found."""
    return KERNEL.sub(lambda m: m[0] if m[1] in kernels else "", text)


def join(programs):
    """programs: (source, options, of which those like -DNAME=VALUE are followed). A kernel of program i is called its name + suffix(i)."""
    parts = []
    for i, (text, options) in enumerate(programs):
        names = file_scope_names(text)
        values = dict(option[len("-D") :].split("=", 1) for option in options if option.startswith("-D"))
        parts += [f"#define {name} {value}\n" for name, value in values.items()]
        parts += [f"#define {name} {name}{suffix(i)}\n" for name in sorted(names)]
        parts += ["#pragma OPENCL FP_CONTRACT DEFAULT\n", text]
        parts += [f"#undef {name}\n" for name in sorted(names.union(values, macros(text)))]
    return "".join(parts)
