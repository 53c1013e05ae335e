"""The models behind the registered encoders: adapters, conversion, reading of checkpoints. Imports torch."""
