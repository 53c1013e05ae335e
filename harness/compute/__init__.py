"""Where and how tensors are computed and read: devices, CPU kernels, weight files. Imports torch."""
