"""Addresses in object stores (s3, gs, hf) and on web servers, as inputs and outputs.

What is read has a local path: a copy of its own (`staging`), or one that stands for a photo which is read when it is
needed (`folders`). What is written is made locally first, then put into the store as one piece. Readers and writers
know paths alone; messages show addresses (`names`). Nothing of fsspec is imported before an address is used.
"""
