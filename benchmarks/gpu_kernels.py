"""Count the instructions of every kernel of a training step; no GPU needed:  python benchmarks/gpu_kernels.py [MODEL]

The kernels are compiled by NVRTC for a GPU, while CuPy runs on host memory (tests/cupy_on_host); this needs CuPy and
g++. PTX: all instructions, and the divisions and remainders of 64-bit and of 32-bit integers (div64, div32). SASS, if
nvdisasm is installed: all instructions but NOP; CALL, by which 64-bit divisions and the slow paths of floating-point
divisions are done; XU (MUFU, I2F, F2I, F2F, FRND), conversions and reciprocals, which run at a fraction of the others'
rate and are needed to divide integers by unknown numbers. Counts are of the text: the body of a loop counts
once. The exit code is 1 if a kernel divides 64-bit integers.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from gpu_launches import missing
from gpu_step import cupy_on_host, training_step

XU = ("MUFU", "I2F", "F2I", "F2F", "FRND")


def ptx_of(source: str, options: tuple[str, ...], sm: int) -> str:
    """Return the PTX that NVRTC makes of a source with the options that CuPy gives it."""
    from cupy_backends.cuda.libs import nvrtc

    program = nvrtc.createProgram(source, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*options, f"-arch=compute_{sm}", "-ftz=true", "-default-device"))
        text = nvrtc.getPTX(program)
    finally:
        nvrtc.destroyProgram(program)
    return (text if isinstance(text, str) else text.decode()).rstrip("\0")


def ptx_counts(text: str) -> dict[str, int]:
    operations = re.findall(r"^\s+(?:@!?%p\d+\s+)?([a-z][a-z0-9_.:]*)\s[^\n]*;", text, re.MULTILINE)
    divisions = Counter(op[-2:] for op in operations if re.match(r"(div|rem)\.[su](32|64)", op))
    return {"PTX": len(operations), "div64": divisions["64"], "div32": divisions["32"]}


def disassembled(image: bytes, nvdisasm: str) -> str | None:
    """Return the SASS; None if nvdisasm does not know the architecture, as that of CUDA 13 does not know sm_70."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "kernel.cubin")
        cubin.write_bytes(image + b"\0")  # CuPy cuts off the last byte, as if the image were a string
        done = subprocess.run([nvdisasm, "-c", cubin], capture_output=True, text=True)
    return None if done.returncode else done.stdout


def sass_counts(text: str) -> dict[str, int]:
    found = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)", text)
    operations = Counter(found)
    xu = sum(operations[operation] for operation in XU)
    return {"SASS": len(found) - operations["NOP"], "CALL": operations["CALL"], "XU": xu}


def counts(source: str, options: tuple[str, ...], image: bytes, sm: int, nvdisasm: str | None) -> dict[str, int]:
    """Return column -> count for one kernel."""
    sass = disassembled(image, nvdisasm) if nvdisasm else None
    return ptx_counts(ptx_of(source, options, sm)) | (sass_counts(sass) if sass else {})


def kernels(args: argparse.Namespace) -> list[dict[str, int | str]]:
    """Return a row of counts for each kernel of a step; kernels that differ in no count share a row."""
    device = cupy_on_host.install(sm=args.sm, execute=False)
    training_step(args.model, 4, args.size)()
    table = []
    for source, options, image in device.modules:
        kernel = re.search(r"__global__ void (\w+)\(", source)[1]
        row = {"kernel": kernel, **counts(source, options, image, args.sm, nvdisasm())}
        if row not in table:
            table.append(row)
    return table


def nvdisasm() -> str | None:
    """Return the path of the disassembler of the package nvidia-cuda-nvdisasm, or None."""
    from cuda.pathfinder import find_nvidia_binary_utility

    return find_nvidia_binary_utility("nvdisasm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0].partition(";")[0])
    parser.add_argument("model", nargs="?", default="se_resnet20", help="name of a network (default: se_resnet20)")
    parser.add_argument("--sm", type=int, default=90, help="compute capability: 70, 80, 90, ... (default: 90)")
    parser.add_argument("--size", type=int, default=32, help="rows and columns of an image (default: 32)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts to FILE")
    args = parser.parse_args()
    if problem := missing():
        sys.exit(f"gpu_kernels.py: {problem}")
    table = kernels(args)
    columns = [name for name in table[0] if name != "kernel"]
    longest = "SASS" if "SASS" in columns else "PTX"
    print(f"{args.model}, one step, sm_{args.sm}: {len(table)} kernels that differ in a count\n")
    print(f"{'kernel':44}" + "".join(f"{name:>7}" for name in columns))
    for row in sorted(table, key=lambda row: (-row[longest], row["kernel"])):
        print(f"{row['kernel']:44}" + "".join(f"{row[name]:7,}" for name in columns))
    if longest == "PTX":
        print(f"\nNo SASS: {'run pip install nvidia-cuda-nvdisasm' if nvdisasm() is None else 'nvdisasm fails'}")
    dividing = sorted({row["kernel"] for row in table if row["div64"]})
    print(f"\n64-bit divisions: {', '.join(dividing) or 'none'}")
    if args.json:
        args.json.write_text(json.dumps({"model": args.model, "sm": args.sm, "kernels": table}, indent=1) + "\n")
    sys.exit(bool(dividing))


if __name__ == "__main__":
    main()
