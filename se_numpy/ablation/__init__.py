"""The paper's ablations, run: tables as data, their runs through an executor, what came of them beside the paper."""
