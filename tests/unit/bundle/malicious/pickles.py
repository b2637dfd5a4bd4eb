"""Pickles by every name, each of which would touch the canary."""

import bz2
import gzip
import io
import lzma
import os
import pickle

import joblib

from tests.unit.bundle.malicious.case import case, change_manifest, rewrite


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, place):
        self._command = f"touch {place.canary}"

    def __reduce__(self):
        return os.system, (self._command,)


def dump(place, protocol=4):
    return pickle.dumps(Payload(place), protocol=protocol)


def spoil(place, data):
    rewrite(place.copy(), "model.skops", data)


@case("InvalidBundle", "isn't a skops file")
def pickle_protocol_0(place):
    spoil(place, dump(place, 0))


@case("InvalidBundle", "isn't a skops file")
def pickle_protocol_1(place):
    spoil(place, dump(place, 1))


@case("UnsafeModel", "is a pickle")
def pickle_protocol_2(place):
    spoil(place, dump(place, 2))


@case("UnsafeModel", "is a pickle")
def pickle_protocol_3(place):
    spoil(place, dump(place, 3))


@case("UnsafeModel", "is a pickle")
def pickle_protocol_4(place):
    spoil(place, dump(place, 4))


@case("UnsafeModel", "is a pickle")
def pickle_protocol_5(place):
    spoil(place, dump(place, 5))


@case("UnsafeModel", "is a pickle")
def pickle_in_gzip(place):
    spoil(place, gzip.compress(dump(place)))


@case("UnsafeModel", "is a pickle")
def pickle_in_bzip2(place):
    spoil(place, bz2.compress(dump(place)))


@case("UnsafeModel", "is a pickle")
def pickle_in_xz(place):
    spoil(place, lzma.compress(dump(place)))


@case("UnsafeModel", "is a pickle")
def pickle_of_joblib_with_zlib(place):
    buffer = io.BytesIO()
    joblib.dump(Payload(place), buffer, compress=("zlib", 9))
    spoil(place, buffer.getvalue())


@case("UnsafeModel", "format is 'joblib'")
def pickle_declared_in_the_manifest(place):
    change_manifest(place.copy(), lambda m: m.update(format="joblib"))


@case("UnsafeModel", "is a pickle")
def pickle_as_the_archive(place):
    place.archive.write_bytes(dump(place))


@case("InvalidBundle", "isn't an ONNX file")
def pickle_as_an_onnx_model(place):
    rewrite(place.copy("onnx"), "model.onnx", dump(place))


@case("UnsafeModel", "is a pickle")
def pickle_as_the_model_above_an_ensemble(place):
    rewrite(place.copy("ensemble"), "final.skops", dump(place))


@case("InvalidBundle", "reference.parquet")
def pickle_as_the_reference(place):
    rewrite(place.copy(), "reference.parquet", dump(place))
