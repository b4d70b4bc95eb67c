"""Speed and memory as ratios: `python -m benchmarks` measures, and writes docs/performance.md."""
