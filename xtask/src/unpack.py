"""Unpacks parts of wheels: unpack.py FOLDER RULES WHEEL...

RULES is one line per rule, PREFIX|PATTERN|INTO|EXCEPT,EXCEPT: of the files below PREFIX those
whose remaining name fits PATTERN and none of EXCEPT are written below FOLDER/INTO. Each rule must
find something. The zip format's checksums are verified on the way.
"""

import fnmatch
import os
import shutil
import sys
import zipfile


def parse(line):
    prefix, pattern, into, excepted = line.split("|")
    return prefix, pattern, into, [name for name in excepted.split(",") if name]


def destination(name, rules):
    for number, (prefix, pattern, into, excepted) in enumerate(rules):
        if not name.startswith(prefix) or name.endswith("/"):
            continue
        rest = name[len(prefix):]
        fits = fnmatch.fnmatchcase(rest, pattern)
        if fits and not any(fnmatch.fnmatchcase(rest, each) for each in excepted):
            return number, os.path.join(into, rest)
    return None


def main(folder, rules, wheels):
    rules = [parse(line) for line in rules.splitlines()]
    jobs = []
    for wheel in wheels:
        archive = zipfile.ZipFile(wheel)
        for entry in archive.infolist():
            found = destination(entry.filename, rules)
            if found is not None:
                jobs.append((archive, entry, *found))
    for number, rule in enumerate(rules):
        if not any(job[2] == number for job in jobs):
            sys.exit("no wheel holds " + rule[0] + rule[1])
    total = sum(job[1].file_size for job in jobs)
    parent = os.getppid()
    done = 0
    shown = -1
    for archive, entry, _, path in jobs:
        if os.getppid() != parent:
            sys.exit("stopped: the set-up that started this has ended")
        target = os.path.normpath(os.path.join(folder, path))
        if not target.startswith(os.path.join(folder, "")):
            sys.exit("refused: " + entry.filename + " would be written outside the folder")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with archive.open(entry) as source, open(target, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
            if entry.file_size > 1 << 20:
                sink.flush()
                os.fsync(sink.fileno())
        done += entry.file_size
        percent = 100 * done // max(total, 1)
        if sys.stderr.isatty() and percent != shown:
            shown = percent
            print(f"\runpacking: {percent} %", end="", file=sys.stderr, flush=True)
    if shown >= 0:
        print("\r", end="", file=sys.stderr)
    print(f"unpacked {len(jobs)} files, {total / 1e6:.0f} MB", file=sys.stderr)


main(sys.argv[1], sys.argv[2], sys.argv[3:])
