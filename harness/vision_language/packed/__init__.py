"""Packed decoding: all questions about an image as one tree of tokens, many images at a time."""
