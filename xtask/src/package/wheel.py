"""Packs an archive's folder as a wheel: wheel.py FOLDER WHEEL VERSION TAG EPOCH.

Programs go into `scripts` and the rest into `data`, so that pip puts them into bin, lib and share of
an environment, where they find each other as they do in the folder. No Python code is in it.
"""

import base64
import hashlib
import os
import sys
import time
import zipfile

SUMMARY = "Runs diffusion policies and motion models as real-time controllers: one program, no Python code"
# Of kinestream, LibTorch, the libgomp and the two libraries of CUDA that come with LibTorch.
LICENSE = (
    "(MIT OR Apache-2.0) AND BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1"
    " AND LicenseRef-NVIDIA-CUDA-Toolkit-EULA"
)
DESCRIPTION = """\
The program `kinestream` with LibTorch's libraries for the CPU, shipped weights and configurations. It imports
nothing and nothing of it is imported: pip puts it on the PATH of an environment.

    kinestream demo        # a page on http://127.0.0.1:8740: a policy pushes the T
    kinestream --help
"""


def files_of(folder):
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            yield os.path.relpath(path, folder).replace(os.sep, "/"), path


def main(folder, wheel, version, tag, epoch):
    base = "kinestream-" + version
    date = time.gmtime(max(int(epoch), 315532800))[:6]
    licenses = []
    jobs = []
    for name, path in files_of(folder):
        top, _, rest = name.partition("/")
        if top == "bin":
            jobs.append((base + ".data/scripts/" + rest, path, 0o755))
        elif top in ("lib", "share"):
            jobs.append((base + ".data/data/" + name, path, 0o644))
        elif name != "README.md":
            licenses.append(name)
            jobs.append((base + ".dist-info/licenses/" + name, path, 0o644))
    metadata = [
        "Metadata-Version: 2.4",
        "Name: kinestream",
        "Version: " + version,
        "Summary: " + SUMMARY,
        "License-Expression: " + LICENSE,
    ]
    metadata += ["License-File: " + name for name in licenses]
    metadata += ["Requires-Python: >=3.8", "Description-Content-Type: text/markdown", "", DESCRIPTION]
    about = [
        "Wheel-Version: 1.0",
        "Generator: cargo xtask package",
        "Root-Is-Purelib: false",
        "Tag: " + tag,
        "",
    ]
    texts = [
        (base + ".dist-info/METADATA", "\n".join(metadata)),
        (base + ".dist-info/WHEEL", "\n".join(about)),
    ]
    record = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:

        def entry(name, mode):
            info = zipfile.ZipInfo(name, date)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o100000 | mode) << 16
            return info

        def add(name, blocks, mode):
            digest, size = hashlib.sha256(), 0
            with archive.open(entry(name, mode), "w", force_zip64=True) as sink:
                for block in blocks:
                    digest.update(block)
                    size += len(block)
                    sink.write(block)
            text = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
            record.append("%s,sha256=%s,%d" % (name, text, size))

        for name, path, mode in jobs:
            with open(path, "rb") as source:
                add(name, iter(lambda: source.read(1 << 20), b""), mode)
        for name, text in texts:
            add(name, [text.encode()], 0o644)
        name = base + ".dist-info/RECORD"
        archive.writestr(entry(name, 0o644), "\n".join(record + [name + ",,", ""]))


main(*sys.argv[1:])
