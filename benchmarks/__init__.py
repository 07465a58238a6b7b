"""What overread must reach, measured: `make bench` runs all, `python -m benchmarks NAME …` some.

Absolute times on a shared machine are noise; what is compared is run side by side in one go and told as a ratio.
"""
