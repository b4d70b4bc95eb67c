"""all-MiniLM-L6 before and after fine-tuning for sentiment: the example of docs/results.md with a published encoder.

`python -m benchmarks.finetuning.train FOLDER` trains one classifier per seed; `python -m benchmarks.finetuning FOLDER`
collects stages, compares, decomposes, ranks and ablates, and writes the tables. Both need TXRAY_DATA.
"""
