"""What an HDF5 file is written to: every byte where it belongs, and one error however often writing fails."""

import os
from io import FileIO

import h5py
import numpy as np
import pytest

from qloc.errors import StorageError
from qloc.store.exchange.hdf5_sink import Sink


def test_it_is_written_and_read_as_a_file_is(tmp_path):
    values = np.arange(10_000).reshape(100, 100)
    with FileIO(tmp_path / "a.h5", "w+") as file:
        sink = Sink(file, tmp_path / "out")
        with h5py.File(sink, "w") as opened:
            opened.create_dataset("a", data=values, chunks=(7, 11), compression="gzip")
            np.testing.assert_array_equal(opened["a"][3:9], values[3:9])
        sink.require_written()
    with h5py.File(tmp_path / "a.h5") as opened:
        np.testing.assert_array_equal(opened["a"], values)


def test_the_first_error_is_kept_and_the_rest_goes_nowhere(tmp_path):
    class Full(FileIO):
        room = 3

        def write(self, content):
            if not self.room:
                raise OSError(28, os.strerror(28))
            taken = super().write(bytes(content)[: self.room])
            self.room -= taken
            return taken

    with Full(tmp_path / "a", "w+") as file:
        sink = Sink(file, tmp_path / "out")
        assert sink.write(b"ab") == 2
        sink.require_written()
        assert sink.write(memoryview(np.arange(4).tobytes())) == 32
        file.room = 100
        assert sink.write(b"later") == 5
        assert sink.truncate(1) == 1
        with pytest.raises(StorageError) as caught:
            sink.require_written()
        assert str(caught.value) == (
            f"writing is 'No space left on device'; expected a disk that takes it. At {tmp_path}/out. "
            "Make room or mend the disk and run the same command again: what was recorded is kept."
        )
    assert (tmp_path / "a").read_bytes() == b"ab\0"
