"""The paper's ablations: tables as data, their runs through an executor, and reports next to the paper's numbers."""
