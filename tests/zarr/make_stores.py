"""Writes the zarr stores of zarr/tests/fixtures: one array for every codec, number type and layout that is read.

Two versions of zarr write them, each in an environment of its own (requirements.txt says which):

    python-with-zarr-2 tests/zarr/make_stores.py v2 zarr/tests/fixtures
    python-with-zarr-3 tests/zarr/make_stores.py v3 zarr/tests/fixtures

The name of an array begins with the values that it holds. policy/tests/it/zarr_formats.rs knows them by the formulas below,
and `arrays-v2.txt` and `arrays-v3.txt` list all names. Two arrays below `pairs/NAME` hold equal numbers: `stored`, and
`plain` as Python reads them back.
"""

import os
import shutil
import sys
import zipfile

import numcodecs
import numpy as np
import zarr

ROWS, CHUNK = 280, 150
ROW, COLUMN = np.indices((ROWS, 3), "u4")
SMOOTH = (ROW // 4 + 5 * COLUMN) % 100
NOISE = ((ROW * np.uint32(2654435761) + COLUMN * np.uint32(97) + np.uint32(12345)) * np.uint32(2246822519)) >> np.uint32(8)
# More than 8191 bytes that do not compress, twice.
FAR = np.tile(((np.arange(8400, dtype="u4") * np.uint32(2246822519)) >> np.uint32(24)).astype("u1"), 2)
GAPS = np.where((ROW >= 100) & (ROW < 200), 0, SMOOTH + 1)
WAVE = np.sin(ROW * 0.1 + COLUMN)
ENDS = np.array([100, 180, 280], "i8")
BLOSC = ["blosclz", "lz4", "lz4hc", "zlib", "zstd"]
SHUFFLES = {"none": 0, "byte": 1, "bit": 2}
KINDS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]


def plain_codecs():
    return {
        "zstd": numcodecs.Zstd(3),
        "zstd-checksum": numcodecs.Zstd(3, checksum=True),
        "gzip": numcodecs.GZip(5),
        "zlib": numcodecs.Zlib(5),
        "lz4": numcodecs.LZ4(),
        "bz2": numcodecs.BZ2(),
        "lzma": numcodecs.LZMA(preset=1),
        "lzma-alone": numcodecs.LZMA(format=2, preset=1),
    }


def write_v2(root):
    names = []

    def array(name, values, chunks=None, **options):
        options = {"compressor": None, "fill_value": 0, "write_empty_chunks": True, **options}
        target = root.create_dataset(name, shape=values.shape, chunks=chunks or (CHUNK, *values.shape[1:]), dtype=values.dtype, **options)
        target[...] = values
        names.append(name)
        return target

    smooth = SMOOTH.astype("<f4")
    array("smooth/plain", smooth)
    for cname in BLOSC:
        for word, shuffle in SHUFFLES.items():
            array(f"smooth/blosc-{cname}-{word}", smooth, compressor=numcodecs.Blosc(cname, 5, shuffle))
        if cname == "lz4hc":
            continue
        array(f"smooth/blosc-{cname}-i8", SMOOTH.astype("<i8"), compressor=numcodecs.Blosc(cname, 9, 1))
        array(f"smooth/blosc-{cname}-u1", SMOOTH.astype("u1"), compressor=numcodecs.Blosc(cname, 1, 2))
        array(f"smooth/blosc-{cname}-blocks", SMOOTH.astype("<f8"), compressor=numcodecs.Blosc(cname, 5, 1, blocksize=1024))
    array("noise/blosc-lz4", NOISE[:90].astype("<f4"), compressor=numcodecs.Blosc("lz4", 5, 0))
    array("noise/blosc-stored", NOISE[:90].astype("<u4"), compressor=numcodecs.Blosc("lz4", 0, 1))
    array("far/blosc-blosclz", FAR, chunks=FAR.shape, compressor=numcodecs.Blosc("blosclz", 9, 0))
    for name, codec in plain_codecs().items():
        array(f"smooth/{name}", smooth, compressor=codec)
    for kind in KINDS:
        for order in "<>":
            array(f"smooth/{kind}-{'little' if order == '<' else 'big'}", SMOOTH.astype(order + kind), compressor=numcodecs.Zstd(3))
    array("flags/bool", SMOOTH % 2 == 1, compressor=numcodecs.Blosc("lz4", 5, 1))
    array("flags/packbits", SMOOTH % 2 == 1, filters=[numcodecs.PackBits()])

    lz4 = numcodecs.Blosc("lz4", 5, 1)
    array("smooth/order-f", smooth, order="F", compressor=lz4)
    array("smooth/order-f-delta", SMOOTH.astype("<i4"), order="F", filters=[numcodecs.Delta("<i4")], compressor=lz4)
    array("smooth/chunks-columns", smooth, chunks=(100, 2), compressor=lz4)
    array("smooth/chunks-one-column-f", smooth, chunks=(ROWS, 1), order="F", compressor=lz4)
    array("smooth/chunks-larger", smooth, chunks=(500, 4), compressor=lz4)
    array("smooth/separator", smooth, chunks=(100, 2), dimension_separator="/", compressor=lz4)
    array("cube/chunks", SMOOTH.reshape(70, 4, 3).astype("u1"), chunks=(30, 3, 2), compressor=lz4)
    array("cube/order-f", SMOOTH.reshape(70, 4, 3).astype("<f4"), chunks=(30, 3, 2), order="F", compressor=lz4)

    integers = SMOOTH.astype("<i4")
    array("smooth/delta", integers, filters=[numcodecs.Delta("<i4")], compressor=numcodecs.Zstd(3))
    array("smooth/delta-i1", integers, filters=[numcodecs.Delta("<i4", "i1")], compressor=numcodecs.Zstd(3))
    array("smooth/delta-shuffle-lz4", integers, filters=[numcodecs.Delta("<i4"), numcodecs.Shuffle(4)], compressor=numcodecs.LZ4())
    array("smooth/scale", smooth, filters=[numcodecs.FixedScaleOffset(offset=50, scale=2, dtype="<f4", astype="<i2")])
    array("smooth/quantize", smooth, filters=[numcodecs.Quantize(2, "<f4", "<f2")])
    array("smooth/astype", SMOOTH.astype("<i8"), filters=[numcodecs.AsType("<i2", "<i8")], compressor=numcodecs.Zlib(1))
    array("smooth/bitround", smooth, filters=[numcodecs.bitround.BitRound(10)], compressor=numcodecs.Zstd(3))
    array("smooth/shuffle", smooth, filters=[numcodecs.Shuffle(4)], compressor=numcodecs.GZip(1))
    array("smooth/crc32", smooth, filters=[numcodecs.CRC32()])
    array("smooth/crc32-end", smooth, filters=[numcodecs.CRC32(location="end")])
    array("smooth/adler32", smooth, compressor=numcodecs.Adler32())
    array("smooth/zstd-within-blosc", smooth, filters=[numcodecs.Zstd(3)], compressor=lz4)

    for name, fill in (("0", 0), ("null", None)):
        array(f"gaps/fill-{name}", GAPS.astype("<f4"), chunks=(100, 3), fill_value=fill, write_empty_chunks=False, compressor=lz4)
    sevens = np.where(GAPS == 0, 7, GAPS)
    array("sevens/fill-7", sevens.astype("<i2"), chunks=(100, 2), fill_value=7, write_empty_chunks=False, compressor=lz4)
    array("nans/fill-nan", np.where(GAPS == 0, np.nan, GAPS).astype("<f8"), chunks=(100, 3), fill_value="NaN", write_empty_chunks=False)
    array("large/ends", 2**53 + 1 + np.arange(5, dtype="<i8"), chunks=(2,), compressor=lz4)
    array("large/ends-u8-big", (2**53 + 1 + np.arange(5)).astype(">u8"), chunks=(2,), compressor=lz4)

    def pair(name, values, **options):
        stored = array(f"pairs/{name}/stored", values.astype("<f4"), **options)
        array(f"pairs/{name}/plain", stored[...], compressor=numcodecs.Zlib(9))
        del names[-2:]
        names.append(f"pairs/{name}")

    wave = WAVE[:100]
    pair("delta", wave, filters=[numcodecs.Delta("<f4")], compressor=numcodecs.Zlib(9))
    pair("scale-u1", wave, filters=[numcodecs.FixedScaleOffset(offset=-1.1, scale=90, dtype="<f4", astype="u1")])
    pair("scale-f4", wave, filters=[numcodecs.FixedScaleOffset(offset=0.3, scale=7, dtype="<f4", astype="<f4")], compressor=numcodecs.Zlib(9))
    pair("quantize", wave, filters=[numcodecs.Quantize(2, "<f4")], compressor=numcodecs.Zlib(9))
    pair("half", wave, filters=[numcodecs.AsType("<f2", "<f4")])
    return names


def write_v3(root):
    from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

    names = []

    def array(name, values, chunks=None, **options):
        options = {"compressors": None, "fill_value": 0, **options}
        empty = options.pop("write_empty_chunks", True)
        target = root.create_array(
            name,
            shape=values.shape,
            chunks=chunks or (CHUNK, *values.shape[1:]),
            dtype=values.dtype,
            config={"write_empty_chunks": empty},
            **options,
        )
        target[...] = values
        names.append(name)

    smooth = SMOOTH.astype("<f4")
    array("smooth/plain", smooth)
    array("smooth/default", smooth, compressors="auto")
    for cname in BLOSC:
        for word, shuffle in (("none", "noshuffle"), ("byte", "shuffle"), ("bit", "bitshuffle")):
            array(f"smooth/blosc-{cname}-{word}", smooth, compressors=BloscCodec(cname=cname, clevel=5, shuffle=shuffle))
    array("smooth/zstd", smooth, compressors=ZstdCodec(level=3))
    array("smooth/zstd-checksum", smooth, compressors=ZstdCodec(level=3, checksum=True))
    array("smooth/gzip", smooth, compressors=GzipCodec(level=5))
    array("smooth/zstd-crc32c", smooth, compressors=[ZstdCodec(level=3), Crc32cCodec()])
    for kind in KINDS:
        for endian in ("little", "big"):
            array(f"smooth/{kind}-{endian}", SMOOTH.astype(kind), serializer=BytesCodec(endian=endian), compressors=ZstdCodec())
    array("flags/bool", SMOOTH % 2 == 1, compressors=ZstdCodec())
    array("smooth/transpose", smooth, filters=[TransposeCodec(order=(1, 0))], compressors=ZstdCodec())
    array("smooth/transpose-big", smooth, filters=[TransposeCodec(order=(1, 0))], serializer=BytesCodec(endian="big"), compressors=ZstdCodec())
    cube = SMOOTH.reshape(70, 4, 3).astype("u1")
    array("cube/chunks", cube, chunks=(30, 3, 2), compressors=ZstdCodec())
    array("cube/transpose", cube, chunks=(30, 3, 2), filters=[TransposeCodec(order=(2, 0, 1))], compressors=ZstdCodec())
    array("cube/transposes", cube.astype("i2"), chunks=(30, 3, 2), filters=[TransposeCodec(order=(2, 0, 1)), TransposeCodec(order=(1, 0, 2))])
    array("smooth/keys-v2", smooth, chunks=(100, 2), chunk_key_encoding={"name": "v2", "separator": "."}, compressors=ZstdCodec())
    array("smooth/keys-v2-slash", smooth, chunks=(100, 2), chunk_key_encoding={"name": "v2", "separator": "/"}, compressors=ZstdCodec())
    array("smooth/keys-dot", smooth, chunks=(100, 2), chunk_key_encoding={"name": "default", "separator": "."}, compressors=ZstdCodec())
    array("smooth/shards", smooth, chunks=(20, 3), shards=(100, 3), compressors=BloscCodec(cname="lz4"))
    array("smooth/shards-columns", smooth, chunks=(50, 2), shards=(100, 4), compressors=ZstdCodec())
    array("smooth/shards-start", smooth, chunks=(20, 3), shards={"shape": (100, 3), "index_location": "start"}, compressors=GzipCodec())
    array("smooth/shards-big", smooth, chunks=(20, 3), shards=(100, 3), serializer=BytesCodec(endian="big"))
    array("gaps/shards", GAPS.astype("f4"), chunks=(50, 3), shards=(150, 3), compressors=ZstdCodec(), write_empty_chunks=False)
    array("gaps/fill-0", GAPS.astype("f4"), chunks=(100, 3), compressors=ZstdCodec(), write_empty_chunks=False)
    array("sevens/fill-7", np.where(GAPS == 0, 7, GAPS).astype("i2"), chunks=(100, 2), fill_value=7, write_empty_chunks=False)
    array("nans/fill-nan", np.where(GAPS == 0, np.nan, GAPS).astype("f4"), chunks=(100, 3), fill_value=np.nan, write_empty_chunks=False)
    array("large/ends", 2**53 + 1 + np.arange(5, dtype="i8"), chunks=(2,), compressors=ZstdCodec())

    from zarr.codecs import numcodecs as named

    for name, codec in (
        ("blosc", named.Blosc(cname="lz4", clevel=5, shuffle=1)),
        ("lz4", named.LZ4()),
        ("zlib", named.Zlib(level=5)),
        ("bz2", named.BZ2()),
        ("lzma", named.LZMA(preset=1)),
        ("gzip", named.GZip(level=5)),
        ("zstd", named.Zstd(level=3)),
        ("crc32", named.CRC32()),
        ("adler32", named.Adler32()),
        ("shuffle", named.Shuffle(elementsize=4)),
    ):
        array(f"smooth/numcodecs-{name}", smooth, compressors=[codec])
    array("smooth/numcodecs-delta", SMOOTH.astype("i4"), filters=[named.Delta(dtype="<i4")], compressors=ZstdCodec())
    array("smooth/numcodecs-scale", smooth, filters=[named.FixedScaleOffset(offset=50, scale=2, dtype="<f4", astype="<i2")])
    array("flags/numcodecs-packbits", SMOOTH % 2 == 1, filters=[named.PackBits()])
    return names


def buffer_v2(root):
    """As Diffusion Policy's ReplayBuffer writes it by default."""
    lz4 = numcodecs.Blosc("lz4", 5, numcodecs.Blosc.NOSHUFFLE)
    for name, values, chunks in (
        ("data/obs", SMOOTH.astype("<f4"), (100, 3)),
        ("data/action", WAVE[:, :2].astype("<f4"), (100, 2)),
        ("meta/episode_ends", ENDS, ENDS.shape),
    ):
        root.create_dataset(name, data=values, chunks=chunks, compressor=lz4)


def buffer_v3(root):
    for name, values, chunks in (
        ("data/obs", SMOOTH.astype("f4"), (100, 3)),
        ("data/action", WAVE[:, :2].astype("f4"), (100, 2)),
        ("meta/episode_ends", ENDS, ENDS.shape),
    ):
        root.create_array(name, data=values, chunks=chunks)


def main():
    version, folder = sys.argv[1:]
    path = f"{folder}/arrays-{version}.zarr.zip"
    if os.path.exists(path):
        os.remove(path)
    if version == "v2":
        # A zip store cannot delete, which is how chunks of fill values are left out.
        memory = zarr.MemoryStore()
        names = write_v2(zarr.group(memory))
        store = zarr.ZipStore(path, compression=zipfile.ZIP_DEFLATED, mode="w")
        zarr.copy_store(memory, store)
    else:
        store = zarr.storage.ZipStore(path, compression=zipfile.ZIP_DEFLATED, mode="w")
        names = write_v3(zarr.create_group(store, zarr_format=3))
    store.close()
    with open(f"{folder}/arrays-{version}.txt", "w") as file:
        file.writelines(name + "\n" for name in names)

    buffer = f"{folder}/buffer-{version}.zarr"
    shutil.rmtree(buffer, ignore_errors=True)
    if version == "v2":
        buffer_v2(zarr.open_group(buffer, mode="w"))
    else:
        buffer_v3(zarr.create_group(buffer, zarr_format=3))
    if version == "v3":
        return
    # As somebody packs a folder by hand: with the folder's own name, and stored, so that both ways of zip are there.
    with zipfile.ZipFile(f"{folder}/packed-v2.zip", "w") as packed:
        for place, _, files in sorted(os.walk(buffer)):
            for name in sorted(files):
                file = os.path.join(place, name)
                entry = zipfile.ZipInfo(os.path.relpath(file, folder))
                packed.writestr(entry, open(file, "rb").read())


main()
