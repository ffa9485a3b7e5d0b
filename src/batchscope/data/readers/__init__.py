"""One file format each: bytes in, arrays out, and a DataError naming the file for anything else."""
