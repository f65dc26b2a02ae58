"""Archives of arrays as `numpy.savez` writes them, read without trusting them."""

import io
import zipfile

import numpy as np


def arrays_from_npz(content: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays of an archive by name, without ever unpickling.

    Raises:
      ValueError: it is no archive, damaged, or holds anything but plain arrays; the message does not name the file.
    """
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ValueError("it is no .npz archive, such as numpy.savez writes")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except Exception as error:  # Damaged archives raise nearly any type.
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"it cannot be read as an .npz archive of plain arrays ({reason})") from error
