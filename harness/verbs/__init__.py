"""The verbs of ohd-bench, each a function that gives back a result: the command line and ``ohd_bench`` print them."""
