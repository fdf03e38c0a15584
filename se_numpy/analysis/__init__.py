"""What a run looked like, and what a network does: figures and studies.  Matplotlib is imported only when one is drawn."""
