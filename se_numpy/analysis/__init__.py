"""What a run looked like: figures.  Matplotlib is imported only when one is drawn."""
